"""One process of callers, to be killed at any moment.

Each caller makes its steps in turn, as a workflow's activity would: reserve, ask, settle, and again as another attempt when it
fails. What was begun stands in the process's diary, which plays the part of Temporal: a process that takes a killed one's
place goes on with the next attempt. Deliveries are repeated, and some answers come late, after the next attempt began.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
from fakes.metered_provider import Fate, ask, micros

from adapters.postgres.calls import PostgresCalls
from adapters.postgres.connection import Pool, create_pool
from domain.blobs import BlobRef
from domain.budgets import BudgetKey, BudgetScope, Reservation, Settlement
from domain.errors import BudgetExhausted, DependencyUnavailable, ModelBlocked
from domain.models import CallOutcome, CallRecord, SlmAnswer
from domain.sessions import Usage

ATTEMPTS = 4
REPEATED, LATE, ABANDONED = 0.2, 0.05, 0.2
MONEY = {"currency": "USD", "price_snapshot": "test"}


@dataclass(frozen=True)
class Plan:
    """What a process is to do. `first` is the number of its first caller."""

    url: str
    tenant: str
    port: int
    seed: str
    diary: str
    first: int
    callers: int
    steps: int
    hold_seconds: int
    sessions: int
    naive_url: str = ""


class Diary:
    """Attempts begun and steps that are over, written before anything else happens and kept when the process is killed."""

    def __init__(self, path: str) -> None:
        self.begun: dict[str, int] = {}
        self.over: set[str] = set()
        for line in Path(path).read_text().splitlines() if Path(path).exists() else ():
            kind, step, attempt = line.split()
            self.begun[step] = max(self.begun.get(step, 0), int(attempt))
            if kind == "over":
                self.over.add(step)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, kind: str, step: str, attempt: int) -> None:
        os.write(self._file, f"{kind} {step} {attempt}\n".encode())


class Callers:
    def __init__(self, plan: Plan, pool: Pool, diary: Diary) -> None:
        self.plan, self.diary = plan, diary
        self.calls = PostgresCalls(pool)
        self.late: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        await asyncio.gather(*(self._caller(self.plan.first + number) for number in range(self.plan.callers)))
        while self.late:
            await asyncio.gather(*self.late)

    async def _caller(self, number: int) -> None:
        for place in range(self.plan.steps):
            step = f"c{number}-{place}"
            if step in self.diary.over:
                continue
            begun = self.diary.begun.get(step, 0)
            # Some that were killed are given up, as a workflow that is terminated: nobody but the sweep ends them.
            given_up = begun and random.Random(f"{self.plan.seed}/{step}/{begun}/up").random() < ABANDONED
            for attempt in () if given_up else range(begun + 1, ATTEMPTS + 1):
                self.diary.write("begun", step, attempt)
                if await self._attempt(number, step, attempt):
                    break
            self.diary.write("over", step, 0)

    async def _attempt(self, number: int, step: str, attempt: int) -> bool:
        """True when the step is over."""
        draw = random.Random(f"{self.plan.seed}/{step}/{attempt}")
        bounds = draw.randint(1, 200), draw.randint(1, 100)
        record = self._record(number, step, attempt)
        try:
            if await self._held(record, self._reservation(number, bounds)) is not None:
                return True
        except (BudgetExhausted, ModelBlocked):
            return True
        work = self._asked(record, bounds, draw)
        if draw.random() < LATE:
            self.late.add(task := asyncio.create_task(self._tardy(work)))
            task.add_done_callback(self.late.discard)
            return False
        return await work

    async def _held(self, record: CallRecord, reservation: Reservation) -> SlmAnswer | None:
        while True:
            # As Temporal does; a real attempt would get another number.
            with suppress(DependencyUnavailable):
                return await self.calls.begin(record, reservation)

    async def _tardy(self, work: Any) -> None:
        await asyncio.sleep(random.uniform(0, 0.3))
        await work

    async def _asked(self, record: CallRecord, bounds: tuple[int, int], draw: random.Random) -> bool:
        key = f"{record.workflow_id}/{record.step_key}"
        asked = {"key": key, "call": str(record.attempt), "input": bounds[0], "output": bounds[1]}
        try:
            said = await ask(self.plan.port, asked)
        except ConnectionError:
            return await self._ended(record, draw, CallOutcome.FAILED, Settlement.UNKNOWN)
        fate = Fate(said["fate"])
        if fate is Fate.REFUSED:
            return await self._ended(record, draw, CallOutcome.FAILED, Settlement.RELEASED)
        if fate is Fate.SILENT:
            return await self._ended(record, draw, CallOutcome.COMPLETED, Settlement.UNKNOWN, 1, 1)
        outcome = CallOutcome.COMPLETED if fate is Fate.ANSWER else CallOutcome.FAILED
        return await self._ended(record, draw, outcome, Settlement.SETTLED, said["input"], said["output"])

    async def _ended(
        self, record: CallRecord, draw: random.Random, outcome: CallOutcome, settlement: Settlement, read: int = 0, wrote: int = 0
    ) -> bool:
        changes = {"outcome": outcome, "settlement": settlement, "input_tokens": read, "output_tokens": wrote}
        done = record.model_copy(update=changes | {"cost_micros": micros(read, wrote)} | MONEY)
        deliveries = 1 + (draw.random() < REPEATED) + (draw.random() < REPEATED)
        await asyncio.gather(*(self._delivered(done, draw.random()) for _ in range(deliveries)))
        if draw.random() < REPEATED:
            # A cancellation that arrives after the end.
            lost = {"outcome": CallOutcome.CANCELLED, "settlement": Settlement.UNKNOWN}
            await self._delivered(done.model_copy(update=lost), draw.random())
        return outcome is CallOutcome.COMPLETED

    async def _delivered(self, done: CallRecord, chance: float) -> None:
        await asyncio.sleep(0.02 * chance)
        while True:
            with suppress(DependencyUnavailable):
                if done.outcome is CallOutcome.COMPLETED:
                    await self.calls.complete(done, _answer(done))
                else:
                    await self.calls.end(done)
                return

    def _record(self, number: int, step: str, attempt: int) -> CallRecord:
        return CallRecord(
            tenant_id=self.plan.tenant,
            session_id=None,
            workflow_id=f"slm/{self.plan.tenant}/{number}",
            step_key=step,
            role="test",
            provider="metered",
            model=f"m{number % 5}",
            attempt=attempt,
            outcome=CallOutcome.STARTED,
            at=datetime.now(UTC),
        )

    def _reservation(self, number: int, bounds: tuple[int, int]) -> Reservation:
        return Reservation(
            keys=(
                BudgetKey(scope=BudgetScope.TENANT, scope_id=self.plan.tenant),
                BudgetKey(scope=BudgetScope.SESSION, scope_id=f"s{number % self.plan.sessions}"),
            ),
            tokens=sum(bounds),
            micros=micros(*bounds),
            seconds=self.plan.hold_seconds,
            **MONEY,
        )


def _answer(done: CallRecord) -> SlmAnswer:
    return SlmAnswer(
        reply=BlobRef(sha256="a" * 64, size=1),
        provider=done.provider,
        model=done.model,
        fallback=False,
        usage=Usage(input_tokens=done.input_tokens, output_tokens=done.output_tokens),
    )


async def naive(plan: Plan) -> None:
    """The same callers with a check before the call and a write after it: what the ledger is there to be better than."""
    connect: Any = asyncpg.create_pool
    async with connect(plan.naive_url, min_size=1, max_size=8) as pool:

        async def caller(number: int) -> None:
            for place in range(plan.steps):
                step = f"c{number}-{place}"
                draw = random.Random(f"{plan.seed}/{step}/1")
                bounds = draw.randint(1, 200), draw.randint(1, 100)
                left = await pool.fetchval("SELECT cap - used FROM naive_budget")
                if left < sum(bounds):
                    return
                with suppress(ConnectionError):
                    said = await ask(plan.port, {"key": step, "call": "naive", "input": bounds[0], "output": bounds[1]})
                    used = said.get("input", 0) + said.get("output", 0)
                    await pool.execute("UPDATE naive_budget SET used = used + $1", used)

        await asyncio.gather(*(caller(plan.first + number) for number in range(plan.callers)))


async def work(plan: Plan) -> None:
    if plan.naive_url:
        await naive(plan)
        return
    pool = await create_pool(plan.url, 8, "ledger-caller")
    await Callers(plan, pool, Diary(plan.diary)).run()
    await pool.close()


def nursery() -> None:
    """A process for each plan that comes in, one after another: says which, then how it ended. Forked: imports take long."""
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            asyncio.run(work(Plan(**json.loads(line))))
            return
        _say(child)
        _say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    nursery()
