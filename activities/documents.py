"""Documents: read the text of uploaded bytes, record it, delete it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Protocol

from temporalio import activity

from activities.errors import translate_errors
from domain.documents import DocumentDeletion, DocumentInput
from domain.errors import NotFound
from domain.names import ActivityName
from domain.ports.blobs import BlobStore
from domain.ports.documents import DocumentReads, DocumentStore, TextExtractor


class Documents(DocumentStore, DocumentReads, Protocol):
    """Both sides of the documents."""


class DocumentActivities:
    """What the document workflows have done for them."""

    def __init__(self, *, extractor: TextExtractor, blobs: BlobStore, documents: Documents) -> None:
        """`extractor` reads, `blobs` and `documents` keep."""
        self._extractor, self._blobs, self._documents = extractor, blobs, documents

    @activity.defn(name=ActivityName.DOCUMENT_ADD.value)
    async def add(self, document: DocumentInput) -> None:
        """Reads and records the document. Fails as `unprocessable` when the bytes are not what they claim to be."""
        tenant_id = document.actor.tenant_id
        with translate_errors():
            # A repeated attempt must not store the text again: bytes stored anew look as if somebody were about to name them.
            with suppress(NotFound):
                await self._documents.get(tenant_id, document.document_id)
                return
            data = await self._blobs.get(tenant_id, document.original.sha256)
            text = await asyncio.to_thread(self._extractor.extract, data, document.original.media_type)
            blob = await self._blobs.put(tenant_id, text.encode())
            await self._documents.add(document, blob, len(text))

    @activity.defn(name=ActivityName.DOCUMENT_DELETE.value)
    async def delete(self, deletion: DocumentDeletion) -> None:
        """Marks it deleted and drops its bytes."""
        with translate_errors():
            await self._documents.delete(deletion.actor.tenant_id, deletion.document_id)
