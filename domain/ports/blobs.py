"""Blobs: immutable bytes keyed (tenant, sha256)."""

from __future__ import annotations

from typing import Protocol

from domain.blobs import TEXT, BlobRef


class BlobStore(Protocol):
    """Writing the same bytes twice is harmless; a tenant never sees another's."""

    async def put(self, tenant_id: str, data: bytes, media_type: str = TEXT) -> BlobRef:
        """Stores the bytes and names them."""
        ...

    async def get(self, tenant_id: str, sha256: str) -> bytes:
        """The bytes. Raises NotFound."""
        ...
