"""The ledger under fire: callers in four processes, killed at any moment, against a provider that overruns and breaks off.

At every committed state no budget holds more than its cap, and each is the sum of its reservations. When all is quiet nothing
is reserved, what is known equals the provider's invoice, and after a reconciliation all of it does, to the unit.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import uuid
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from fakes.metered_provider import Line, invoice
from ledger_caller import Plan
from ledger_rows import Tenant

from adapters.postgres.connection import Pool, tenant_select
from adapters.postgres.lost_calls import PostgresLedger
from domain.budgets import BudgetKey, BudgetScope, ReviewModel, Settlement
from domain.errors import NotFound
from domain.names import TOKENS
from domain.reconciling import VendorUsage, explain
from workers.embedded.stack import EmbeddedStack

ROOT = Path(__file__).parents[2]
PROCESSES, SESSIONS, HOLD_SECONDS = 4, 8, 2
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests")))}

# One statement, so that budgets and reservations are of the same committed state.
_BOOKS = """
SELECT budgets.budget_id, cap, settled, reserved,
       coalesce(sum(part) FILTER (WHERE state = 'reserved'), 0) AS sum_reserved,
       coalesce(sum(part) FILTER (WHERE state <> 'reserved'), 0) AS sum_settled
FROM budgets LEFT JOIN (
    SELECT r.tenant_id, state, id, part FROM reservations AS r, unnest(r.budget_ids, r.held) AS h (id, part)
) AS parts ON parts.tenant_id = budgets.tenant_id AND parts.id = budgets.budget_id
WHERE budgets.tenant_id = tenant.tenant_id
GROUP BY budgets.budget_id, cap, settled, reserved
"""
_ALL = "SELECT * FROM reservations WHERE tenant_id = tenant.tenant_id"


@dataclass(frozen=True)
class Size:
    """`callers` in all processes together, each with so many `steps`; processes killed; caps as parts of what all may use."""

    callers: int
    steps: int
    kills: int


@asynccontextmanager
async def provider(seed: str) -> AsyncIterator[int]:
    """The metered provider's port."""
    command = (sys.executable, "-m", "fakes.metered_provider", seed)
    process = await asyncio.create_subprocess_exec(*command, env=ENVIRONMENT, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield int(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def meanwhile(*work: Callable[[], Any]) -> AsyncIterator[None]:
    """Runs these beside the block; fails with what one of them failed of."""
    tasks = [asyncio.create_task(each()) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            if not task.done():
                task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError | NotFound):
            raise result


class Nursery:
    """Makes caller processes, one at a time, and sees how they end."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._in, self._out = process, process.stdin, process.stdout
        self.child: int | None = None

    @classmethod
    async def open(cls) -> Nursery:
        pipe = asyncio.subprocess.PIPE
        command = (sys.executable, str(ROOT / "tests/contract/ledger_caller.py"))
        return cls(await asyncio.create_subprocess_exec(*command, env=ENVIRONMENT, stdin=pipe, stdout=pipe))

    async def run(self, plan: Plan) -> int:
        """The exit code of a process that follows the plan."""
        self._in.write(json.dumps(asdict(plan)).encode() + b"\n")
        self.child = int(await self._out.readline())
        code = int(await self._out.readline())
        self.child = None
        return code

    def kill(self) -> bool:
        """Kills the process at once; False when there is none."""
        child, self.child = self.child, None
        if child is not None:
            os.kill(child, signal.SIGKILL)
        return child is not None

    async def close(self) -> None:
        self.kill()
        self._in.close()
        await self._process.wait()


class Fleet:
    """The caller processes. One that is killed is replaced by one that goes on from its diary."""

    def __init__(self, nurseries: list[Nursery]) -> None:
        self._nurseries = nurseries
        self.killed = 0

    async def run(self, plans: list[Plan], kills: int, draw: random.Random) -> None:
        """Until every process is done with its work; at most so many are killed meanwhile."""
        async with meanwhile(lambda: self._kill(plans, kills, draw)):
            await asyncio.gather(*map(self._keep_up, self._nurseries, plans))

    async def _keep_up(self, nursery: Nursery, plan: Plan) -> None:
        while code := await nursery.run(plan):
            assert code == -signal.SIGKILL, f"a caller process ended with {code}"

    async def _kill(self, plans: list[Plan], kills: int, draw: random.Random) -> None:
        """Kills processes at random moments, each once it has begun something."""
        written = [0] * len(plans)
        while self.killed < kills:
            await asyncio.sleep(draw.uniform(0.05, 0.4))
            slot = draw.randrange(len(plans))
            if _size(plans[slot].diary) > written[slot] and self._nurseries[slot].kill():
                self.killed += 1
                written[slot] = _size(plans[slot].diary)


@asynccontextmanager
async def fleet_of(processes: int) -> AsyncIterator[Fleet]:
    nurseries = [await Nursery.open() for _ in range(processes)]
    try:
        yield Fleet(nurseries)
    finally:
        await asyncio.gather(*(nursery.close() for nursery in nurseries))


def _size(file: str) -> int:
    return Path(file).stat().st_size if Path(file).exists() else 0


class Scene:
    """One run: its tenant, budgets and what is watched."""

    def __init__(self, pool: Pool, seed: str) -> None:
        self.tenant, self.seed = Tenant(pool), seed
        self.ledger = PostgresLedger(pool)
        self.seen, self.swept, self.reviewed = 0, 0, 0
        self.broken: list[str] = []

    async def watch(self) -> None:
        """Looks at every committed state it can get hold of."""
        while True:
            for row in await tenant_select(self.tenant.pool, self.tenant.id, _BOOKS):
                if row["settled"] + row["reserved"] > row["cap"]:
                    self.broken.append(f"over its cap: {dict(row)}")
                if (row["settled"], row["reserved"]) != (row["sum_settled"], row["sum_reserved"]):
                    self.broken.append(f"not the sum of its reservations: {dict(row)}")
            self.seen += 1
            await asyncio.sleep(0.005)

    async def sweep(self) -> None:
        """The schedule's work, at a quicker pace."""
        while True:
            self.swept += await self.ledger.sweep(self.tenant.id, 500)
            await asyncio.sleep(0.3)

    async def review(self) -> None:
        """Somebody who looks at each overrun at once."""
        while True:
            for block in await self.tenant.budgets.blocks(self.tenant.id, reviewed=False):
                await self.tenant.budgets.review(ReviewModel(actor=self.tenant.actor, provider=block.provider, model=block.model))
                self.reviewed += 1
            await asyncio.sleep(0.05)

    async def quiet(self) -> None:
        """Sweeps until nothing is reserved."""
        async with asyncio.timeout(15):
            while any(row["state"] == "reserved" for row in await self.reservations()):
                self.swept += await self.ledger.sweep(self.tenant.id, 500)
                await asyncio.sleep(0.1)

    async def reservations(self) -> list[dict[str, Any]]:
        return [dict(row) for row in await tenant_select(self.tenant.pool, self.tenant.id, _ALL)]


def plans(stack: EmbeddedStack, scene: Scene, port: int, size: Size, directory: Path) -> list[Plan]:
    each = size.callers // PROCESSES
    return [
        Plan(
            url=stack.environment["DATABASE_URL"],
            tenant=scene.tenant.id,
            port=port,
            seed=scene.seed,
            diary=str(directory / f"diary-{slot}"),
            first=slot * each,
            callers=each,
            steps=size.steps,
            hold_seconds=HOLD_SECONDS,
            sessions=SESSIONS,
        )
        for slot in range(PROCESSES)
    ]


async def check_against(scene: Scene, lines: list[Line], *, reconciled: bool) -> None:
    """Every attempt, and every budget, against the invoice."""
    billed = {(line.key, line.call): line for line in lines}
    assert len(billed) == len(lines), "the provider was asked twice in one attempt"
    rows = await scene.reservations()
    sums: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        line = billed.pop((row["idempotency_key"], str(row["attempt"])), None)
        state = row["state"]
        assert state != "reserved"
        if state == "unknown":
            assert not reconciled
            used = row["tokens"], row["micros"]
        else:
            used = row["used_tokens"], row["used_micros"]
        if not reconciled and state != "unknown":
            assert used == ((line.tokens, line.micros) if line else (0, 0)), row
            assert (line is None) == (state == "released"), row
        for budget_id in row["budget_ids"]:
            sums[budget_id][TOKENS] += used[0]
            sums[budget_id]["USD"] += used[1]
            sums[budget_id]["overrun-tokens"] += max(0, used[0] - row["tokens"])
            sums[budget_id]["overrun-USD"] += max(0, used[1] - row["micros"])
            sums[budget_id]["invoice-tokens"] += line.tokens if line else 0
            sums[budget_id]["invoice-USD"] += line.micros if line else 0
    assert not billed, "the provider was asked without a reservation"
    for budget in await scene.tenant.budgets.page(scene.tenant.id, scope=None, scope_id=None, after=None, limit=200):
        held = sums[budget.budget_id]
        assert budget.reserved == 0
        assert budget.settled + budget.uncovered == held[budget.unit], budget
        assert budget.overrun == held[f"overrun-{budget.unit}"], budget
        if reconciled:
            assert budget.settled + budget.uncovered == held[f"invoice-{budget.unit}"], budget


async def reconcile(scene: Scene, lines: list[Line]) -> Counter[Settlement]:
    """As `ledger.reconcile` does it: from a report that knows keys and figures alone."""
    now = datetime.now(UTC)
    since, until = now - timedelta(hours=1), now + timedelta(hours=1)
    report = [VendorUsage(idempotency_key=line.key, micros=line.micros, **_tokens(line)) for line in lines]
    attempts = await scene.ledger.attempts(scene.tenant.id, "metered", [], since, until)
    found = explain(report, attempts, since, until)
    assert found.unexplained == []
    for attempt, line in found.settle:
        assert await scene.ledger.reconcile(scene.tenant.id, attempt, line)
    for attempt in found.release:
        assert await scene.ledger.reconcile(scene.tenant.id, attempt, None)
    return Counter({Settlement.SETTLED: len(found.settle), Settlement.RELEASED: len(found.release)})


def _tokens(line: Line) -> dict[str, int]:
    return {"input_tokens": line.input_tokens, "output_tokens": line.output_tokens}


async def set_caps(scene: Scene, size: Size) -> None:
    """Caps that bind: some calls of a run are refused, in every kind of budget."""
    expected = size.callers * size.steps * 80
    await scene.tenant.budget(expected)
    await scene.tenant.budget(expected * 9, "USD")
    for number in range(SESSIONS):
        key = BudgetKey(scope=BudgetScope.SESSION, scope_id=f"s{number}")
        await scene.tenant.budget(expected // SESSIONS if number % 2 else expected, key=key)


async def overshoot(stack: EmbeddedStack, scene: Scene, fleet: Fleet, made: list[Plan], size: Size) -> tuple[int, int]:
    """The cap, and what the naive guard let the same callers use under it."""
    connect: Any = asyncpg.connect
    owner = await connect(stack.environment["DATABASE_MIGRATION_URL"])
    try:
        cap = size.callers * 60
        await owner.execute("CREATE UNLOGGED TABLE naive_budget (cap bigint, used bigint)")
        await owner.execute("INSERT INTO naive_budget VALUES ($1, 0)", cap)
        url = stack.environment["DATABASE_MIGRATION_URL"]
        await fleet.run([replace(plan, naive_url=url) for plan in made], 0, random.Random(scene.seed))
        return cap, await owner.fetchval("SELECT used FROM naive_budget")
    finally:
        await owner.execute("DROP TABLE IF EXISTS naive_budget")
        await owner.close()


@pytest.mark.parametrize(
    ("size", "seed"),
    [
        pytest.param(Size(200, 2, 6), "first"),
        pytest.param(Size(200, 30, 60), f"drill-{uuid.uuid4().hex[:6]}", marks=[pytest.mark.drill, pytest.mark.timeout(900)]),
    ],
)
async def test_no_cap_is_crossed_and_the_ledger_is_the_invoice(
    stack: EmbeddedStack, pool: Pool, tmp_path: Path, capsys: pytest.CaptureFixture[str], size: Size, seed: str
) -> None:
    scene = Scene(pool, seed)
    await set_caps(scene, size)
    async with provider(seed) as port, fleet_of(PROCESSES) as fleet:
        made = plans(stack, scene, port, size, tmp_path)
        async with meanwhile(scene.watch, scene.sweep, scene.review):
            await fleet.run(made, size.kills, random.Random(seed))
            await scene.quiet()
        lines = await invoice(port)
        cap, used = await overshoot(stack, scene, fleet, made, size)
    assert scene.broken == []
    states = Counter(row["state"] for row in await scene.reservations())
    told = Counter(kind for kind, _ in await scene.tenant.told())
    await check_against(scene, lines, reconciled=False)
    done = await reconcile(scene, lines)
    await check_against(scene, lines, reconciled=True)
    with capsys.disabled():
        sys.stdout.write(
            f"\nledger, seed {seed}: {len(lines)} calls billed, {fleet.killed} kills, {scene.seen} states seen, {dict(states)}, "
            f"{scene.swept} swept, {scene.reviewed} overruns reviewed, {dict(told)}; reconciled {dict(done)}.\n"
            f"check-then-write under the same callers: {used} tokens under a cap of {cap}, {100 * used // cap - 100} % over.\n"
        )
    # The run was worth something: each thing that may happen did.
    assert fleet.killed
    assert scene.reviewed
    assert scene.swept
    assert min(states[state] for state in ("settled", "released", "unknown")) > 0
    assert told["exhausted"]
    assert told["overrun"]
    assert used > cap
