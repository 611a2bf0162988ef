"""Revocations: their rows, and how they read."""

from __future__ import annotations

from typing import Protocol

from domain.revocations import RevocationInput, RevocationKind, RevocationView


class RevocationStore(Protocol):
    """Rows of revocations, each written with its event."""

    async def revoke(self, revocation: RevocationInput) -> None:
        """Adds the revocation; the first writer wins. Raises NotFound when the bytes of its reason are gone."""
        ...


class RevocationReads(Protocol):
    """Revocations of one tenant."""

    async def get(self, tenant_id: str, revocation_id: str) -> RevocationView:
        """One revocation. Raises NotFound."""
        ...

    async def page(
        self, tenant_id: str, kind: RevocationKind | None, after: str | None, limit: int
    ) -> tuple[RevocationView, ...]:
        """Newest first, from after that id on."""
        ...
