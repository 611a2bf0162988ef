"""Roles: their rows, how they read, and what they open."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from domain.roles import RoleDeletionInput, RoleInput, RoleReplacementInput, RoleView


class RoleStore(Protocol):
    """Rows of a tenant's own roles, each written with its event."""

    async def create(self, role: RoleInput) -> None:
        """Adds the role; the first writer wins. Raises Conflict for a name that is taken or looks like one that is, and
        InsufficientScope for a capability that its author lacks."""
        ...

    async def replace(self, change: RoleReplacementInput) -> None:
        """Changes what the role opens, once. Raises NotFound, PreconditionFailed, InsufficientScope."""
        ...

    async def delete(self, deletion: RoleDeletionInput) -> None:
        """Removes the role. Raises Conflict while somebody has it; again is harmless."""
        ...


class RoleReads(Protocol):
    """Roles of one tenant, those that are built in among them."""

    async def get(self, tenant_id: str, name: str) -> RoleView:
        """One role. Raises NotFound."""
        ...

    async def page(self, tenant_id: str, *, built_in: bool | None, after: str | None, limit: int) -> tuple[RoleView, ...]:
        """By name, from after that name on; `built_in` asks for those alone, or for the others."""
        ...

    async def scopes_of(self, tenant_id: str, names: Iterable[str]) -> frozenset[str]:
        """The capabilities of all these roles together. Raises Unprocessable for a name that is no role of the tenant."""
        ...
