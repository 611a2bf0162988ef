"""Blobs in Postgres, and the question whether anything still names one.

Writing bytes that are there already renews their time: who deletes a document must see that somebody else has just stored them
and is about to name them.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Final

from adapters.postgres.connection import Connection, Pool, tenant_insert, tenant_select
from domain.blobs import TEXT, BlobRef
from domain.errors import DomainError, NotFound

_THREAD_BYTES: Final = 1 << 20

_PUT = """
INSERT INTO blobs (tenant_id, sha256, media_type, content) SELECT tenant_id, $2, $3, $4 FROM tenant
ON CONFLICT (tenant_id, sha256) DO UPDATE SET created_at = now()
"""

_GET = "SELECT content FROM blobs WHERE tenant_id = tenant.tenant_id AND sha256 = $2"

# The last clause spares bytes that were stored after the last document that names them was recorded: somebody is about to name
# them. An hour is far beyond any retry of that somebody. A digest anywhere in a decision's JSON counts, whatever its field.
_DROP_UNNAMED = """
DELETE FROM blobs b
WHERE b.tenant_id = $1 AND b.sha256 = ANY($2::text[])
  AND NOT EXISTS (SELECT FROM documents d
                  WHERE d.tenant_id = $1 AND d.deleted_at IS NULL AND b.sha256 IN (d.sha256, d.text_sha256))
  AND NOT EXISTS (SELECT FROM turns t
                  WHERE t.tenant_id = $1 AND b.sha256 IN (t.message_sha256, t.used_sha256, t.reply_sha256))
  AND NOT EXISTS (SELECT FROM slm_calls c WHERE c.tenant_id = $1 AND c.answer -> 'reply' ->> 'sha256' = b.sha256)
  AND NOT EXISTS (SELECT FROM decisions e
                  WHERE e.tenant_id = $1 AND (strpos(e.decision::text, b.sha256) > 0 OR strpos(e.snapshot::text, b.sha256) > 0))
  AND NOT EXISTS (SELECT FROM policy_replays p WHERE p.tenant_id = $1 AND b.sha256 IN (p.candidates, p.result_sha256))
  AND (b.created_at < now() - interval '1 hour'
       OR EXISTS (SELECT FROM documents d
                  WHERE d.tenant_id = $1 AND b.sha256 IN (d.sha256, d.text_sha256) AND d.created_at >= b.created_at))
"""


def _hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def digest(data: bytes) -> str:
    """SHA-256 in hex; of much data in a thread."""
    return _hex(data) if len(data) < _THREAD_BYTES else await asyncio.to_thread(_hex, data)


async def verified(content: bytes, sha256: str) -> bytes:
    """The content as stored under that digest. Raises DomainError when it is another: storage has corrupted it."""
    if await digest(content) != sha256:
        raise DomainError("Stored bytes no longer match their digest; restore them from a backup.")
    return content


async def drop_unnamed(connection: Connection, tenant_id: str, digests: tuple[str, ...]) -> None:
    """Deletes those of the tenant's blobs that no document, turn, model answer, decision or replay names."""
    await connection.execute(_DROP_UNNAMED, tenant_id, list(digests))


async def stored_bytes(connection: Connection, tenant_id: str, sha256: str) -> bytes:
    """The bytes of that digest, checked. Raises NotFound."""
    content: bytes | None = await connection.fetchval(
        "SELECT content FROM blobs WHERE tenant_id = $1 AND sha256 = $2", tenant_id, sha256
    )
    return await _found(content, sha256)


async def _found(content: bytes | None, sha256: str) -> bytes:
    if content is None:
        raise NotFound("The uploaded bytes are no longer stored; upload them again.")
    return await verified(content, sha256)


class PostgresBlobs:
    """BlobStore over the table `blobs`."""

    def __init__(self, pool: Pool) -> None:
        """`pool` connects as the application's role."""
        self._pool = pool

    async def put(self, tenant_id: str, data: bytes, media_type: str = TEXT) -> BlobRef:
        """Stores the bytes and names them; the media type of the first writing stands. Raises DependencyUnavailable."""
        sha256 = await digest(data)
        await tenant_insert(self._pool, tenant_id, _PUT, sha256, media_type, data)
        return BlobRef(sha256=sha256, size=len(data), media_type=media_type)

    async def get(self, tenant_id: str, sha256: str) -> bytes:
        """The bytes, checked against their digest. Raises NotFound, DependencyUnavailable."""
        rows = await tenant_select(self._pool, tenant_id, _GET, sha256)
        return await _found(rows[0]["content"] if rows else None, sha256)
