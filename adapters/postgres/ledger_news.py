"""What the ledger says of its rows: why an attempt is refused, and what is told of a budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adapters.postgres.connection import Row
from domain.errors import BudgetExhausted, DomainError, ModelBlocked, PriceUnknown
from domain.event_data.budgets import BudgetAlerted, BudgetOverrun
from domain.event_data.budgets import BudgetExhausted as BudgetExhaustedTold
from domain.models import CallRecord
from domain.names import TOKENS


def refusal(rows: Sequence[Row], record: CallRecord) -> DomainError | None:
    """Why a chain does not take the attempt; None when it does."""
    named = f"{record.provider}/{record.model}"
    if rows[0]["blocked"]:
        return ModelBlocked(
            f"The model {named} used more than its bound before; review it, then budgets pay for it again.",
            provider=record.provider,
            model=record.model,
        )
    if rows[0]["unpriced"]:
        unit = next(row["unit"] for row in rows if row["wanted"] is None)
        return PriceUnknown(f"A budget counts {unit}, and what {named} costs in it is not known: name its price.", unit=unit)
    short = next((row for row in rows if row["lacks"]), None)
    if short is None:
        return None
    left = short["cap"] - short["settled"] - short["reserved"]
    unit = "tokens" if short["unit"] == TOKENS else f"millionths of {short['unit']}"
    return BudgetExhausted(
        f"The budget of this {short['scope']} has {left} {unit} left, and the call may use {short['wanted']}: raise its cap.",
        left=left,
        **{name: short[name] for name in ("budget_id", "scope", "scope_id", "unit", "wanted")},
    )


def alerted(row: Row) -> BudgetAlerted:
    """A budget that is four fifths used with what is `wanted` of it."""
    reserved = row["reserved"] + (row["wanted"] or 0)
    return BudgetAlerted(**_of(row), settled=row["settled"], reserved=reserved)


def exhausted(row: Row) -> BudgetExhaustedTold:
    """A budget that has no room for what is wanted of it."""
    return BudgetExhaustedTold(**_of(row), settled=row["settled"], reserved=row["reserved"], wanted=row["wanted"])


def overrun(row: Row, reservation: Row) -> BudgetOverrun:
    """A budget whose attempt used more than its bound."""
    return BudgetOverrun(
        **_of(row),
        provider=reservation["provider"],
        model=reservation["model"],
        workflow_id=reservation["workflow_id"],
        overrun=row["excess"],
        uncovered=row["uncovered"],
    )


def _of(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in ("budget_id", "scope", "scope_id", "unit", "cap")}
