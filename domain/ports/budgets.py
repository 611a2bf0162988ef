"""Budgets and their ledger: caps, blocked models, reservations nobody ended, and what was used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from domain.base import UtcTime
from domain.budgets import Budget, BudgetScope, ModelBlock, ReviewModel, SetBudget
from domain.reconciling import Attempt, VendorUsage
from domain.usage import UsageQuery, UsageRow


class BudgetStore(Protocol):
    """Caps and reviews, each written with its event."""

    async def set(self, change: SetBudget) -> Budget:
        """Makes the budget of a scope and unit, or changes its cap; the same change again is harmless.

        Raises Conflict when more than the new cap is settled or reserved.
        """
        ...

    async def review(self, review: ReviewModel) -> None:
        """Bounded budgets pay for the model again. Raises NotFound when nothing blocks it; again is harmless."""
        ...


class BudgetReads(Protocol):
    """One tenant's budgets and blocked models."""

    async def get(self, tenant_id: str, budget_id: str) -> Budget:
        """One budget. Raises NotFound."""
        ...

    async def page(
        self, tenant_id: str, *, scope: BudgetScope | None, scope_id: str | None, after: str | None, limit: int
    ) -> tuple[Budget, ...]:
        """Newest first, from after that id on."""
        ...

    async def blocks(self, tenant_id: str, *, reviewed: bool) -> tuple[ModelBlock, ...]:
        """The models that used more than their bound, last first: those that wait for a review, or the last 200 of all."""
        ...


class Ledger(Protocol):
    """What became of reservations after their process died. Each change is one transaction with journal and events."""

    async def overdue_tenants(self, limit: int) -> tuple[str, ...]:
        """Whose reservations are held for longer than they may be; at most so many tenants, the longest overdue first."""
        ...

    async def sweep(self, tenant_id: str, limit: int) -> int:
        """Records the tenant's overdue attempts as `unknown`, billed at their bound; how many, at most `limit`."""
        ...

    async def attempts(
        self, tenant_id: str, provider: str, keys: Sequence[str], since: UtcTime | None, until: UtcTime | None
    ) -> tuple[Attempt, ...]:
        """The provider's attempts of these keys, and those that began between the two times when both are given."""
        ...

    async def reconcile(self, tenant_id: str, attempt: Attempt, usage: VendorUsage | None) -> bool:
        """Settles an attempt at what the vendor billed, or releases it when it billed nothing.

        False when it was settled already: then nothing changes.
        """
        ...


class UsageReads(Protocol):
    """What a tenant's calls used."""

    async def usage(self, tenant_id: str, query: UsageQuery) -> tuple[UsageRow, ...]:
        """Sums of every group, in the groups' order."""
        ...
