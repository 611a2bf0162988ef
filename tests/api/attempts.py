"""Attempts of model calls as workers record them, for tests of what the gateway says of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from live import Caller, Live

from adapters.postgres.calls import PostgresCalls
from domain.budgets import BudgetKey, BudgetScope, Reservation, Settlement
from domain.models import CallOutcome, CallRecord

SESSION = "ses_" + "3" * 32


def record(caller: Caller, step: str = "s", **more: Any) -> CallRecord:
    values = {
        "tenant_id": caller.tenant,
        "session_id": SESSION,
        "workflow_id": f"session/{caller.tenant}/{SESSION}",
        "step_key": step,
        "role": "dialogue_reasoning",
        "provider": "vendor",
        "model": "m",
        "attempt": 1,
        "outcome": CallOutcome.STARTED,
        "at": datetime.now(UTC),
    }
    return CallRecord.model_validate(values | more)


async def attempt(product: Live, caller: Caller, step: str, settlement: Settlement | None, **more: Any) -> None:
    """An attempt that held 60 tokens, and how it ended; without a settlement it has not."""
    calls, keys = PostgresCalls(product.pool), (BudgetKey(scope=BudgetScope.TENANT, scope_id=caller.tenant),)
    begun = record(caller, step)
    await calls.begin(begun, Reservation(keys=keys, tokens=60))
    if settlement is not None:
        await calls.end(begun.model_copy(update={"outcome": CallOutcome.FAILED, "settlement": settlement} | more))
