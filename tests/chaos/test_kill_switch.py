"""The kill switch under load: busy runs on four workers, one cut off from Redis, one from Postgres, one stopped across the flip.

The vendor, a process of its own, keeps the log that the signed statement is held against.
"""

from __future__ import annotations

import asyncio
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from chaos import drill
from chaos.worker_fleet import Fleet, fleet
from e2e.soma_command import ROOT
from live import Caller, Live, live, until

from adapters.signing import read_trusted_keys
from adapters.statements import verify_statement
from domain.kill_switches import LEASE_SECONDS, KillSwitchStatement
from domain.models import CallOutcome
from workers.embedded.stack import EmbeddedStack

LATENCIES: Final = (0.2, 2.0, 0.2, 20.0, 2.0)
TURNS: Final = 3
AT_ONCE: Final = 16


@dataclass(frozen=True)
class Flip:
    """One switch: what it stated, when it was acknowledged, and the vendor's log of that tenant."""

    statement: KillSwitchStatement
    acknowledged: float
    log: list[dict[str, Any]]

    @property
    def latest(self) -> float:
        """Seconds from the acknowledgement to the last call that the vendor got."""
        return max(call["at"] for call in self.log) - self.acknowledged

    @property
    def alive(self) -> Counter[str]:
        """What the vendor still worked on when the switch was engaged, or was asked later."""
        engaged = self.statement.engaged_at.timestamp()
        return Counter(call["idempotency_key"] for call in self.log if call["ended_at"] is None or call["ended_at"] > engaged)

    @property
    def stated(self) -> Counter[str]:
        return Counter(effect.key for effect in self.statement.effects)


@asynccontextmanager
async def vendor() -> AsyncIterator[str]:
    """The fake vendor's address, up to `/v1`."""
    command = [sys.executable, "-m", "fakes.openai_server", "--mode", "slow"]
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PATH": "/usr/bin:/bin"}
    serving = await asyncio.create_subprocess_exec(*command, env=environment, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert serving.stdout is not None
        url = (await serving.stdout.readline()).decode().strip()
        async with httpx2.AsyncClient(trust_env=False) as http:
            await http.post(f"{url.removesuffix('/v1')}/control", json={"latencies": LATENCIES})
        yield url
    finally:
        serving.kill()
        await serving.communicate()


async def log_of(url: str, tenant: str) -> list[dict[str, Any]]:
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as http:
        calls = (await http.get(f"{url.removesuffix('/v1')}/calls")).json()
    return [call for call in calls if (call["idempotency_key"] or "").startswith(f"session/{tenant}/")]


async def busy(caller: Caller, runs: int) -> None:
    """Sessions with turns enough to outlast the flip."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with slots:
            body = {"prompt": f"Run {number}: what is known?"}
            started = await caller.post("/v1/sessions/start", body, Prefer="wait=0")
            assert started.status_code == 201, started.text
            for _ in range(TURNS - 1):
                sent = await caller.send(started.json()["session_id"], "And what else?", wait=0)
                assert sent.status_code == 202, sent.text

    await asyncio.gather(*map(one, range(runs)))


async def flip(product: Live, workers: Fleet, url: str, stack: EmbeddedStack, runs: int, source: random.Random) -> Flip:
    async with product.caller() as caller:
        await busy(caller, runs)
        await asyncio.sleep(source.uniform(0, 1.5))
        before = [(source.uniform(0, 1.0), act) for act in (workers.redis.cut, workers.postgres.cut, lambda: _stop(workers))]
        begun = time.monotonic()
        for delay, act in sorted(before, key=lambda each: each[0]):
            await asyncio.sleep(max(0.0, begun + delay - time.monotonic()))
            act()
        engaged = await caller.post("/v1/kill-switches", {"scope": "tenant", "reason": "drill"})
        acknowledged = time.time()
        assert engaged.status_code == 201, engaged.text
        await asyncio.sleep(source.uniform(0.2, 3.0))
        workers.stopped.send_signal(signal.SIGCONT)
        await asyncio.sleep(source.uniform(0.5, 2.0))
        workers.redis.mend()
        workers.postgres.mend()
        path = f"/v1/kill-switches/{engaged.json()['switch_id']}"

        async def stated() -> bool:
            return (await caller.get(path)).json()["stated_at"] is not None

        await until(stated, 180, 0.5)
        statement = verify_statement(
            (await caller.get(f"{path}/statement")).json(), read_trusted_keys(stack.keys.statement_trusted)
        )
        return Flip(statement, acknowledged, await log_of(url, caller.tenant))


def _stop(workers: Fleet) -> None:
    workers.stopped.send_signal(signal.SIGSTOP)


@pytest.mark.drill
@pytest.mark.timeout(3000)
async def test_a_switch_stops_busy_runs_whatever_becomes_of_the_workers(capsys: pytest.CaptureFixture[str]) -> None:
    seed, full = drill.seed(), drill.size() is drill.FULL
    source, runs, rounds = random.Random(seed), 500 if full else 40, 10 if full else 2
    flips: list[Flip] = []
    with tempfile.TemporaryDirectory(prefix="soma-chaos-") as directory:
        stack = EmbeddedStack(Path(directory) / "home", tied=True)
        await asyncio.to_thread(stack.start)
        try:
            async with (
                vendor() as url,
                live(stack, queues=()) as product,
                fleet(stack, MODEL_BASE_URL=url, MODEL_NAME="fake-model") as workers,
            ):
                for number in range(rounds):
                    flips.append(await flip(product, workers, url, stack, runs, source))
                    with capsys.disabled():
                        sys.stdout.write(f"\nflip {number + 1}, seed {seed}: {_told(flips[-1])}\n")
        finally:
            await asyncio.to_thread(stack.stop)
    with capsys.disabled():
        sys.stdout.write(_summary(flips))

    for each in flips:
        assert each.latest <= LEASE_SECONDS, "a call began after every lease had run out"
        assert each.statement.runs_found <= runs
        assert each.statement.effects_found == len(each.statement.effects)
        # What the vendor worked on is stated, and what is stated beyond it ended just before, or nobody knows of it.
        assert each.alive - each.stated == Counter()
        known = {call["idempotency_key"] for call in each.log}
        outcomes = {effect.outcome for effect in each.statement.effects if effect.key not in known}
        assert outcomes <= {CallOutcome.UNKNOWN}, outcomes
        assert each.statement.silence_ms <= each.statement.lease_ms
        assert all(effect.ended_at is not None for effect in each.statement.effects)


def _told(each: Flip) -> str:
    statement = each.statement
    return (
        f"{statement.runs_found} runs ended, {statement.effects_found} calls stated ({statement.effects_unknown} unknown), "
        f"{each.alive.total()} by the vendor's log; silence {statement.silence_ms} ms "
        f"({statement.effects_unrecorded} not recorded), stillness {statement.stillness_ms} ms; "
        f"last call {each.latest * 1000:+.0f} ms from the acknowledgement"
    )


def _summary(flips: list[Flip]) -> str:
    stated = [each.statement for each in flips]
    rows = {"silence": [each.silence_ms for each in stated], "stillness": [each.stillness_ms for each in stated]}
    told = (f"{name} p50 {statistics.median(values):.0f} ms, p99 {max(values)} ms" for name, values in rows.items())
    return f"\n{len(flips)} flips: {'; '.join(told)}\n"
