"""Documents: reading text from what was uploaded, and keeping it."""

from __future__ import annotations

from typing import Protocol

from domain.base import Contract
from domain.blobs import BlobRef
from domain.documents import DocumentInput, DocumentView


class DocumentText(Contract):
    """A document's extracted text."""

    document_id: str
    name: str
    text: str


class TextExtractor(Protocol):
    """Reads plain text out of the bytes of a document."""

    def extract(self, data: bytes, media_type: str) -> str:
        """The text. Raises Unprocessable when the bytes are not of that type."""
        ...


class DocumentStore(Protocol):
    """Rows of documents, each written with its event."""

    async def add(self, document: DocumentInput, text: BlobRef, characters: int) -> DocumentView:
        """Adds the document; the first writer wins."""
        ...

    async def delete(self, tenant_id: str, document_id: str) -> None:
        """Marks the document deleted and drops bytes that nothing else names. Raises NotFound; again is harmless."""
        ...


class DocumentReads(Protocol):
    """Documents as they read; deleted ones are not found."""

    async def get(self, tenant_id: str, document_id: str) -> DocumentView:
        """One document. Raises NotFound."""
        ...

    async def text(self, tenant_id: str, document_id: str) -> DocumentText:
        """Its text. Raises NotFound."""
        ...

    async def page(self, tenant_id: str, after: str | None, limit: int) -> tuple[DocumentView, ...]:
        """Newest first, from after that id on."""
        ...
