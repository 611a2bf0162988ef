"""Clients: their rows, and how they read."""

from __future__ import annotations

from typing import Protocol

from domain.clients import (
    ClientChangeInput,
    ClientDisablingInput,
    ClientInput,
    ClientOutcome,
    ClientRotationInput,
    ClientView,
)


class ClientStore(Protocol):
    """Rows of clients, each change written with its event. Whatever gives more than the actor holds raises
    InsufficientScope, and a role that is not there Unprocessable."""

    async def create(self, client: ClientInput) -> ClientOutcome:
        """Adds the client; the first writer wins."""
        ...

    async def change(self, change: ClientChangeInput) -> None:
        """Changes name, scopes or roles, once. Raises NotFound, PreconditionFailed, Conflict for one that is disabled."""
        ...

    async def rotate(self, rotation: ClientRotationInput) -> ClientOutcome:
        """Gives the client another secret, once. Raises NotFound, Conflict for one that is disabled."""
        ...

    async def disable(self, disabling: ClientDisablingInput) -> None:
        """Ends the client for good. Raises NotFound; again is harmless."""
        ...


class ClientReads(Protocol):
    """Clients of one tenant."""

    async def get(self, tenant_id: str, client_id: str) -> ClientView:
        """One client. Raises NotFound."""
        ...

    async def page(self, tenant_id: str, *, disabled: bool | None, after: str | None, limit: int) -> tuple[ClientView, ...]:
        """By id from the last, from after that id on; `disabled` asks for those alone, or for the others."""
        ...
