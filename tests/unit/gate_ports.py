"""Ports of the gate that keep everything in memory."""

from __future__ import annotations

import hashlib

from domain.actors import Actor
from domain.blobs import TEXT, BlobRef
from domain.constitution import ActiveConstitution
from domain.errors import NotFound


class HeldConstitution:
    """A source that always has the same constitution."""

    def __init__(self, active: ActiveConstitution) -> None:
        self._active = active

    async def current(self) -> ActiveConstitution:
        return self._active


class AllStanding:
    """Everybody stands, or nobody."""

    def __init__(self, *, answer: bool = True) -> None:
        self._answer = answer

    async def stands(self, actor: Actor) -> bool:
        return self._answer and bool(actor.client_id)


class HeldBlobs:
    """Blobs in a dictionary."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], bytes] = {}

    def __len__(self) -> int:
        return len(self._held)

    async def put(self, tenant_id: str, data: bytes, media_type: str = TEXT) -> BlobRef:
        sha256 = hashlib.sha256(data).hexdigest()
        self._held[tenant_id, sha256] = data
        return BlobRef(sha256=sha256, size=len(data), media_type=media_type)

    async def get(self, tenant_id: str, sha256: str) -> bytes:
        try:
            return self._held[tenant_id, sha256]
        except KeyError:
            raise NotFound("No bytes with that digest are stored.") from None
