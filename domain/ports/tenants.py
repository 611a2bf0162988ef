"""Tenants: their rows, how they read, and what the edge holds them to."""

from __future__ import annotations

from typing import Protocol

from domain.tenants import TenantChangeInput, TenantDeletionInput, TenantInput, TenantOutcome, TenantTerms, TenantView


class TenantStore(Protocol):
    """Rows of tenants, each change written with its event, which is the tenant's own."""

    async def create(self, tenant: TenantInput) -> TenantOutcome:
        """Adds the tenant with its first client; the first writer wins. Raises Conflict for an id that is taken."""
        ...

    async def change(self, change: TenantChangeInput) -> None:
        """Changes the tenant, once. Raises NotFound, PreconditionFailed, Conflict for one that is deleted."""
        ...

    async def delete(self, deletion: TenantDeletionInput) -> None:
        """Ends the tenant for good. Raises NotFound; again is harmless."""
        ...


class TenantReads(Protocol):
    """Every tenant, for the platform; its own for a tenant."""

    async def get(self, tenant_id: str) -> TenantView:
        """One tenant. Raises NotFound."""
        ...

    async def page(self, *, deleted: bool | None, after: str | None, limit: int) -> tuple[TenantView, ...]:
        """By id, from after that id on; `deleted` asks for those alone, or for the others."""
        ...


class TenantDirectory(Protocol):
    """What the edge asks with every request."""

    async def terms(self, tenant_id: str) -> TenantTerms:
        """The tenant's terms; none for one that is not there. An answer is remembered for a second at most."""
        ...
