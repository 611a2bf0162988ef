"""Two-key requests: their rows, and how they read."""

from __future__ import annotations

from typing import Protocol

from domain.names import TwoKeyAction
from domain.two_key import TwoKeyApprovalInput, TwoKeyInput, TwoKeyState, TwoKeyView, TwoKeyWithdrawalInput


class TwoKeyStore(Protocol):
    """Rows of two-key requests, each change written with its event."""

    async def propose(self, proposal: TwoKeyInput) -> None:
        """Adds the request; the first writer wins."""
        ...

    async def approve(self, approval: TwoKeyApprovalInput) -> None:
        """Adds one person's approval. Raises Forbidden for who may not, NotFound, and Conflict for a request that is not open,
        another digest, or the same person twice."""
        ...

    async def withdraw(self, withdrawal: TwoKeyWithdrawalInput) -> None:
        """Ends the request; again is harmless. Raises NotFound, and Conflict for a consumed one."""
        ...


class TwoKeyReads(Protocol):
    """Two-key requests of one tenant."""

    async def get(self, tenant_id: str, approval_id: str) -> TwoKeyView:
        """One request. Raises NotFound."""
        ...

    async def page(
        self, tenant_id: str, *, state: TwoKeyState | None, action: TwoKeyAction | None, after: str | None, limit: int
    ) -> tuple[TwoKeyView, ...]:
        """Newest first, from after that id on."""
        ...
