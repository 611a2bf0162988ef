"""Claims on Idempotency-Keys (IETF httpapi draft)."""

from __future__ import annotations

from typing import Any, Final, Protocol
from uuid import UUID

from domain.actors import Actor
from domain.base import Contract

LEASE_SECONDS: Final = 10.0
"""How long a claim stands without being renewed: a gateway that died blocks its requests' keys no longer than this."""


class Claim(Contract):
    """A claimed key: `resource` is the UUIDv7 it fixed. `status` and `response` are set once it was answered."""

    resource: UUID
    status: int | None = None
    response: dict[str, Any] | None = None


class Claims(Protocol):
    """Keys are per tenant, caller and route, and kept for 24 hours."""

    async def claim(self, actor: Actor, route: str, key: str, body_sha256: str, resource: UUID) -> Claim:
        """Claims the key for a lease of some seconds, or returns the answered claim. A claim whose lease ran out is
        taken over with the resource it fixed. Raises IdempotencyKeyReused, RequestInProgress."""
        ...

    async def renew(self, actor: Actor, route: str, key: str) -> None:
        """Extends the lease of a request that is still being worked on."""
        ...

    async def release(self, actor: Actor, route: str, key: str) -> None:
        """Gives the lease up without an answer, so that a retry may go on at once."""
        ...

    async def answer(self, actor: Actor, route: str, key: str, status: int, response: dict[str, Any]) -> None:
        """Keeps the first answer."""
        ...
