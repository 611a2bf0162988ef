"""A process of callers that reserve from budgets and settle: `python -m benchmarks.reservations`, steered by lines of JSON.

It reads an Order, makes its budgets and writes `ready`; reads `go`, lets the callers work and writes an Outcome; until its
input ends. Like a worker it has one pool of connections for all its callers.
"""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from datetime import UTC, datetime
from typing import Final

from adapters.postgres.budgets import PostgresBudgets
from adapters.postgres.calls import PostgresCalls
from adapters.postgres.connection import Pool, create_pool
from domain.actors import Actor
from domain.base import Contract
from domain.blobs import BlobRef
from domain.budgets import BudgetKey, BudgetScope, Reservation, SetBudget, Settlement
from domain.errors import DependencyUnavailable
from domain.models import CallOutcome, CallRecord, SlmAnswer
from domain.names import TOKENS
from domain.sessions import Usage
from runtime.settings import settings
from workers.processes import run

_CAP: Final = 10**15
_ROLE: Final = "dialogue_reasoning"
_ANSWER: Final = SlmAnswer(
    reply=BlobRef(sha256="a" * 64, size=1),
    provider="bench",
    model="m",
    fallback=False,
    usage=Usage(input_tokens=60, output_tokens=20),
)


class Callers(Contract):
    """So many callers of a tenant. They share one budget, or have one each."""

    tenant: str
    callers: int
    shared: bool = True


class Order(Contract):
    """Who works, and for how long."""

    groups: tuple[Callers, ...]
    seconds: float


class Outcome(Contract):
    """Reservations settled by each group, and those that found no connection or lock in time; `seconds` until the last ended."""

    settled: tuple[int, ...]
    refused: int
    seconds: float


class _Caller:
    """Reserves and settles, again and again."""

    def __init__(self, calls: PostgresCalls, tenant: str, budget: BudgetKey) -> None:
        self._calls, self._tenant, self._budget = calls, tenant, budget
        self.settled = self.refused = 0

    async def work(self, deadline: float) -> None:
        """Until then; what it has begun it ends."""
        while time.monotonic() < deadline:
            record = self._record(f"bench/{uuid.uuid4().hex}")
            try:
                await self._calls.begin(record, Reservation(keys=(self._budget,), tokens=100))
                done = {
                    "outcome": CallOutcome.COMPLETED,
                    "input_tokens": 60,
                    "output_tokens": 20,
                    "settlement": Settlement.SETTLED,
                }
                await self._calls.complete(record.model_copy(update=done), _ANSWER)
            except DependencyUnavailable:
                self.refused += 1
            else:
                self.settled += 1

    def _record(self, workflow_id: str) -> CallRecord:
        return CallRecord(
            tenant_id=self._tenant,
            session_id=None,
            workflow_id=workflow_id,
            step_key="request",
            role=_ROLE,
            provider="bench",
            model="m",
            attempt=1,
            outcome=CallOutcome.STARTED,
            at=datetime.now(UTC),
        )


async def _budget(pool: Pool, tenant: str, name: str) -> BudgetKey:
    actor = Actor(tenant_id=tenant, subject="bench", client_id="bench", scopes=(), jti="bench")
    key = BudgetKey(scope=BudgetScope.PROJECT, scope_id=name)
    new = f"bud_{uuid.uuid4().hex}"
    await PostgresBudgets(pool).set(SetBudget(change_id=uuid.uuid4(), budget_id=new, actor=actor, key=key, unit=TOKENS, cap=_CAP))
    return key


async def _callers(pool: Pool, group: Callers) -> list[_Caller]:
    calls = PostgresCalls(pool)
    if group.shared:
        budgets = [await _budget(pool, group.tenant, "shared")] * group.callers
    else:
        budgets = [await _budget(pool, group.tenant, uuid.uuid4().hex) for _ in range(group.callers)]
    return [_Caller(calls, group.tenant, budget) for budget in budgets]


async def _obey(pool: Pool, order: Order) -> Outcome:
    groups = [await _callers(pool, group) for group in order.groups]
    _say("ready")
    await asyncio.to_thread(sys.stdin.readline)
    begun = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for caller in (caller for group in groups for caller in group):
            tasks.create_task(caller.work(begun + order.seconds))
    settled = tuple(sum(caller.settled for caller in group) for group in groups)
    refused = sum(caller.refused for group in groups for caller in group)
    return Outcome(settled=settled, refused=refused, seconds=time.monotonic() - begun)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def _serve() -> None:
    chosen = settings()
    if chosen.database_url is None:
        raise SystemExit("DATABASE_URL is not set.")
    pool = await create_pool(chosen.database_url.get_secret_value(), chosen.database_pool_size, "bench-reservations")
    try:
        while line := await asyncio.to_thread(sys.stdin.readline):
            _say((await _obey(pool, Order.model_validate_json(line))).model_dump_json())
    finally:
        await pool.close()


if __name__ == "__main__":
    run(_serve())
