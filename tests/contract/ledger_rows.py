"""A tenant with budgets, and attempts at model calls that reserve from them: for tests of the ledger on a real Postgres."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from adapters.postgres.budgets import PostgresBudgets
from adapters.postgres.calls import PostgresCalls
from adapters.postgres.connection import Pool, tenant_transaction
from domain.actors import Actor
from domain.blobs import BlobRef
from domain.budgets import Budget, BudgetKey, BudgetScope, Reservation, SetBudget, Settlement
from domain.models import CallOutcome, CallRecord, SlmAnswer
from domain.names import TOKENS
from domain.sessions import Usage

SESSION = "ses_" + "1" * 32
_HELD = "SELECT budget_ids, held, state FROM reservations WHERE tenant_id = $1"
_BOOKS = "SELECT budget_id, settled, reserved, uncovered FROM budgets WHERE tenant_id = $1"


def answer(digit: str = "a") -> SlmAnswer:
    reply = BlobRef(sha256=digit * 64, size=1)
    return SlmAnswer(reply=reply, provider="vendor", model="m", fallback=False, usage=Usage(input_tokens=7, output_tokens=3))


class Tenant:
    """One tenant of its own."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.id = f"t-{uuid.uuid4().hex[:12]}"
        self.actor = Actor(tenant_id=self.id, subject="alice", client_id="cli", scopes=(), jti="j")
        self.calls, self.budgets = PostgresCalls(pool), PostgresBudgets(pool)
        self.tenant_key = BudgetKey(scope=BudgetScope.TENANT, scope_id=self.id)
        self.session_key = BudgetKey(scope=BudgetScope.SESSION, scope_id=SESSION)

    async def budget(self, cap: int, unit: str = TOKENS, key: BudgetKey | None = None) -> Budget:
        """Makes a budget, or sets its cap."""
        change = SetBudget(
            change_id=uuid.uuid4(),
            budget_id=f"bud_{uuid.uuid4().hex}",
            actor=self.actor,
            key=key or self.tenant_key,
            unit=unit,
            cap=cap,
        )
        return await self.budgets.set(change)

    def bound(self, tokens: int, *keys: BudgetKey, **more: Any) -> Reservation:
        return Reservation(keys=keys or (self.tenant_key,), tokens=tokens, **more)

    def record(self, step: str = "s", attempt: int = 1, outcome: CallOutcome = CallOutcome.STARTED, **more: Any) -> CallRecord:
        values = {
            "tenant_id": self.id,
            "session_id": SESSION,
            "workflow_id": f"session/{self.id}/{SESSION}",
            "step_key": step,
            "role": "dialogue_reasoning",
            "provider": "vendor",
            "model": "m",
            "attempt": attempt,
            "outcome": outcome,
            "at": datetime.now(UTC),
        }
        return CallRecord.model_validate(values | more)

    async def begin(self, tokens: int, step: str = "s", attempt: int = 1, **more: Any) -> SlmAnswer | None:
        return await self.calls.begin(self.record(step, attempt), self.bound(tokens, **more))

    async def complete(
        self, tokens: int, step: str = "s", attempt: int = 1, settlement: Settlement = Settlement.SETTLED, **more: Any
    ) -> SlmAnswer:
        used = {"input_tokens": tokens, "output_tokens": 0, "settlement": settlement}
        return await self.calls.complete(self.record(step, attempt, CallOutcome.COMPLETED, **used, **more), answer())

    async def end(self, settlement: Settlement, step: str = "s", attempt: int = 1, **more: Any) -> None:
        await self.calls.end(self.record(step, attempt, CallOutcome.FAILED, settlement=settlement, **more))

    async def rows(self, query: str) -> list[dict[str, Any]]:
        async with tenant_transaction(self.pool, self.id) as connection:
            return [dict(row) for row in await connection.fetch(query, self.id)]

    async def books(self, budget: Budget) -> tuple[int, int, int, int]:
        """Settled, reserved, overrun, uncovered of a budget; and they are the sum of its reservations."""
        await self.check()
        now = await self.budgets.get(self.id, budget.budget_id)
        return now.settled, now.reserved, now.overrun, now.uncovered

    async def check(self) -> None:
        """Every budget holds what its reservations say."""
        sums: dict[tuple[str, bool], int] = {}
        for row in await self.rows(_HELD):
            for budget_id, held in zip(row["budget_ids"], row["held"], strict=True):
                place = budget_id, row["state"] == "reserved"
                sums[place] = sums.get(place, 0) + held
        for row in await self.rows(_BOOKS):
            of = row["budget_id"]
            assert (row["settled"], row["reserved"]) == (sums.get((of, False), 0), sums.get((of, True), 0)), of

    async def states(self) -> list[tuple[str, int, str]]:
        """Step, attempt and state of every reservation."""
        rows = await self.rows("SELECT step_key, attempt, state FROM reservations WHERE tenant_id = $1 ORDER BY 1, 2")
        return [(row["step_key"], row["attempt"], row["state"]) for row in rows]

    async def told(self, noun: str = "budget") -> list[tuple[str, dict[str, Any]]]:
        """Events of a noun: the past participle and the data."""
        rows = await self.rows("SELECT type, data FROM outbox WHERE tenant_id = $1 ORDER BY xid, seq")
        return [(row["type"].split(".")[2], row["data"]) for row in rows if row["type"].split(".")[1] == noun]
