"""Documents in Postgres: rows written with their events, read as projections.

Deleting is two transactions: the mark and its event first, so that the document is gone for every reader at once; then its bytes.
"""

from __future__ import annotations

from typing import Final

from adapters.postgres.blobs import drop_unnamed, stored_bytes, verified
from adapters.postgres.connection import Connection, Pool, Row, tenant_transaction
from adapters.postgres.outbox import event_of, insert_events
from domain.blobs import BlobRef
from domain.documents import DocumentInput, DocumentView
from domain.errors import NotFound
from domain.event_data.documents import DocumentAdded, DocumentDeleted
from domain.ports.documents import DocumentText

_COLUMNS: Final = ("document_id", "name", "media_type", "sha256", "bytes", "characters", "created_at")

# Joined to the blobs it names: a document whose bytes are gone is never recorded.
_ADD = """
INSERT INTO documents (tenant_id, document_id, name, media_type, sha256, bytes, text_sha256, characters, created_at)
SELECT $1, $2, $3, $4, original.sha256, $6, text.sha256, $8, now()
FROM blobs original JOIN blobs text USING (tenant_id)
WHERE tenant_id = $1 AND original.sha256 = $5 AND text.sha256 = $7
ON CONFLICT (tenant_id, document_id) DO NOTHING
RETURNING document_id, name, media_type, sha256, bytes, characters, created_at
"""
_GET = """
SELECT document_id, name, media_type, sha256, bytes, characters, created_at FROM documents
WHERE tenant_id = $1 AND document_id = $2 AND deleted_at IS NULL
"""
_TEXT = """
SELECT d.name, d.text_sha256, b.content
FROM documents d LEFT JOIN blobs b ON b.tenant_id = d.tenant_id AND b.sha256 = d.text_sha256
WHERE d.tenant_id = $1 AND d.document_id = $2 AND d.deleted_at IS NULL
"""
_PAGE = """
SELECT document_id, name, media_type, sha256, bytes, characters, created_at FROM documents
WHERE tenant_id = $1 AND deleted_at IS NULL AND ($2::text IS NULL OR document_id < $2)
ORDER BY document_id DESC LIMIT $3
"""
_MARK = """
UPDATE documents SET deleted_at = now() WHERE tenant_id = $1 AND document_id = $2 AND deleted_at IS NULL
RETURNING sha256, text_sha256
"""
_MARKED = "SELECT sha256, text_sha256 FROM documents WHERE tenant_id = $1 AND document_id = $2"


def _view(row: Row) -> DocumentView:
    return DocumentView.model_validate({name: row[name] for name in _COLUMNS})


def _unknown() -> NotFound:
    return NotFound("No document has that id.")


class PostgresDocuments:
    """DocumentStore and DocumentReads over the table `documents`."""

    def __init__(self, pool: Pool) -> None:
        """`pool` connects as the application's role."""
        self._pool = pool

    async def add(self, document: DocumentInput, text: BlobRef, characters: int) -> DocumentView:
        """Adds the document and `document.added`; the first writer wins. Raises NotFound when its bytes are not stored."""
        tenant_id, original = document.actor.tenant_id, document.original
        async with tenant_transaction(self._pool, tenant_id) as connection:
            name = (await stored_bytes(connection, tenant_id, document.name.sha256)).decode()
            row = await connection.fetchrow(
                _ADD,
                tenant_id,
                document.document_id,
                name,
                original.media_type,
                original.sha256,
                original.size,
                text.sha256,
                characters,
            )
            if row is None:
                return await self._first(connection, tenant_id, document.document_id)
            added = DocumentAdded(
                document_id=document.document_id,
                media_type=original.media_type,
                sha256=original.sha256,
                bytes=original.size,
                characters=characters,
            )
            await insert_events(connection, tenant_id, (event_of(added),))
        return _view(row)

    async def _first(self, connection: Connection, tenant_id: str, document_id: str) -> DocumentView:
        row = await connection.fetchrow(_GET, tenant_id, document_id)
        if row is None:
            raise NotFound("The uploaded bytes are no longer stored; upload the document again.")
        return _view(row)

    async def delete(self, tenant_id: str, document_id: str) -> None:
        """Marks the document deleted, with `document.deleted`, then drops bytes nothing else names. Raises NotFound."""
        async with tenant_transaction(self._pool, tenant_id) as connection:
            row = await connection.fetchrow(_MARK, tenant_id, document_id)
            if row is not None:
                await insert_events(connection, tenant_id, (event_of(DocumentDeleted(document_id=document_id)),))
            else:
                # Deleted before, perhaps by an attempt that died before it dropped the bytes.
                row = await connection.fetchrow(_MARKED, tenant_id, document_id)
        if row is None:
            raise _unknown()
        async with tenant_transaction(self._pool, tenant_id) as connection:
            await drop_unnamed(connection, tenant_id, (row["sha256"], row["text_sha256"]))

    async def get(self, tenant_id: str, document_id: str) -> DocumentView:
        """One document. Raises NotFound."""
        async with tenant_transaction(self._pool, tenant_id) as connection:
            row = await connection.fetchrow(_GET, tenant_id, document_id)
        if row is None:
            raise _unknown()
        return _view(row)

    async def text(self, tenant_id: str, document_id: str) -> DocumentText:
        """Its text, checked against its digest. Raises NotFound."""
        async with tenant_transaction(self._pool, tenant_id) as connection:
            row = await connection.fetchrow(_TEXT, tenant_id, document_id)
        if row is None or row["content"] is None:
            raise _unknown()
        content = await verified(row["content"], row["text_sha256"])
        return DocumentText(document_id=document_id, name=row["name"], text=content.decode())

    async def page(self, tenant_id: str, after: str | None, limit: int) -> tuple[DocumentView, ...]:
        """Newest first, from after that id on."""
        async with tenant_transaction(self._pool, tenant_id) as connection:
            rows = await connection.fetch(_PAGE, tenant_id, after, limit)
        return tuple(_view(row) for row in rows)
