"""A document: what was uploaded and the text that was read from it."""

from __future__ import annotations

from domain.actors import Actor
from domain.base import Contract, Count, UtcTime
from domain.blobs import BlobRef
from domain.ids import DocumentId

MAX_DOCUMENT_BYTES = 5 * 1024 * 1024
MEDIA_TYPES = ("text/plain", "text/markdown", "text/html")


class DocumentInput(Contract):
    """Argument of the document workflow."""

    document_id: DocumentId
    actor: Actor
    name: BlobRef
    original: BlobRef
    region: str


class DocumentDeletion(Contract):
    """Argument of the workflow that deletes a document."""

    document_id: DocumentId
    actor: Actor


class DocumentView(Contract):
    """A document as it reads. `characters` counts the extracted text."""

    document_id: DocumentId
    name: str
    media_type: str
    sha256: str
    bytes: Count
    characters: Count
    created_at: UtcTime
