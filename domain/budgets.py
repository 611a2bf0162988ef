"""Budgets: caps in tokens or in micro-units of a currency, from which every model call reserves its upper bound first.

A call belongs to several scopes at once (its tenant, its session, its project, its capsule installation); every budget
that one of them has must have room. `settled + reserved <= cap` holds at every committed state. What a provider used beyond
the bound is an overrun: recorded in full, taken from what is left, and what no cap had room for is `uncovered`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final
from uuid import UUID

from pydantic import Field, StringConstraints

from domain.actors import Actor
from domain.base import Contract, Count, UtcTime
from domain.ids import BudgetId
from domain.names import BudgetScope

ALERT_PERCENT: Final = 80

Unit = Annotated[str, StringConstraints(pattern=r"^(tokens|[A-Z]{3})$")]
"""`tokens`, or the ISO 4217 code of a currency whose micro-units are counted (1 USD = 1,000,000)."""


class BudgetKey(Contract):
    """One thing that may have budgets. Of a tenant the id is the tenant's own."""

    scope: BudgetScope
    scope_id: str = Field(min_length=1, max_length=80)


class Settlement(StrEnum):
    """What became of a reservation. `unknown`: it may have been paid for; billed at its bound until it is reconciled."""

    RESERVED = "reserved"
    SETTLED = "settled"
    RELEASED = "released"
    UNKNOWN = "unknown"


class Reservation(Contract):
    """The upper bound of one attempt. `micros` is none where the price is not known."""

    keys: tuple[BudgetKey, ...]
    tokens: Count
    micros: Count | None = None
    currency: str | None = None
    price_snapshot: str | None = None
    seconds: int = Field(default=900, ge=1)
    """How long it is held before the sweep takes its attempt for lost."""
    unpriced_counts: bool = False
    """Where the price is not known a budget in money is: left out (true), or a refusal (false)."""


class Budget(Contract):
    """A budget as it reads."""

    budget_id: BudgetId
    scope: BudgetScope
    scope_id: str
    unit: Unit
    cap: Count
    settled: Count
    reserved: Count
    overrun: Count = 0
    uncovered: Count = 0
    exhausted: bool = Field(default=False, description="A call was refused, and the cap was not raised since.")
    created_at: UtcTime
    updated_at: UtcTime

    @property
    def left(self) -> int:
        """What may still be reserved."""
        return self.cap - self.settled - self.reserved


class SetBudget(Contract):
    """Argument of `budget.set`: makes the budget of a scope and unit, or changes its cap. `budget_id` is that of a new one;
    `change_id` is of this change, which happens once."""

    change_id: UUID
    budget_id: BudgetId
    actor: Actor
    key: BudgetKey
    unit: Unit
    cap: Count


class SweepCall(Contract):
    """Argument of `ledger.sweep`: at most so many tenants in one run, and so many reservations of each."""

    tenants: int = Field(default=500, ge=1)
    reservations: int = Field(default=500, ge=1)


class SweepOutcome(Contract):
    """What a sweep found: reservations whose attempt was lost, now `unknown`."""

    tenants: Count = 0
    unknown: Count = 0


class ReviewModel(Contract):
    """Argument of `model.review`: somebody has looked at an overrun, so the model may be paid for again."""

    actor: Actor
    provider: str
    model: str


class ModelBlock(Contract):
    """A model that used more than its bound, and whether somebody has reviewed that."""

    provider: str
    model: str
    workflow_id: str
    step_key: str
    attempt: int
    overrun_tokens: Count
    overrun_micros: Count
    blocked_at: UtcTime
    reviewed_at: UtcTime | None = None
    reviewed_by: str | None = None
