"""API keys: their rows, how they read, and whose key a bearer is."""

from __future__ import annotations

from typing import Protocol

from domain.api_keys import ApiKeyInput, ApiKeyOutcome, ApiKeyRevocationInput, ApiKeyView
from domain.base import Contract, UtcTime


class ApiKeyRecord(Contract):
    """A key as the edge sees it. `stands`: it was neither revoked nor expired when it was looked up."""

    key_id: str
    tenant_id: str
    client_id: str
    key_sha256: str
    scopes: tuple[str, ...]
    created_at: UtcTime
    stands: bool


class ApiKeyDirectory(Protocol):
    """Looks a key up before any tenant is known, and keeps when keys are used."""

    async def find(self, key_sha256: str) -> ApiKeyRecord | None:
        """The key, or None. An answer is remembered for a second at most. Raises DependencyUnavailable."""
        ...

    def used(self, tenant_id: str, key_id: str) -> None:
        """Notes that the key was used just now, at most once a minute. Returns at once and never raises."""
        ...


class ApiKeyStore(Protocol):
    """Rows of keys, each written with its event."""

    async def create(self, key: ApiKeyInput) -> ApiKeyOutcome:
        """Adds the key; the first writer wins. Raises Forbidden when its client no longer holds the scopes."""
        ...

    async def revoke(self, revocation: ApiKeyRevocationInput) -> None:
        """Ends the key for good. Raises NotFound; again is harmless."""
        ...


class ApiKeyReads(Protocol):
    """Keys of one tenant, never their digests."""

    async def get(self, tenant_id: str, key_id: str) -> ApiKeyView:
        """One key. Raises NotFound."""
        ...

    async def page(self, tenant_id: str, after: str | None, limit: int) -> tuple[ApiKeyView, ...]:
        """Newest first, from after that id on."""
        ...
