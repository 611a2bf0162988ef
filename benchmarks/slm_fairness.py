"""Two tenants of equal weight, one with prompts fifty times as long, who both always want more than the provider gives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from benchmarks.run import say
from benchmarks.slm_load import WORDS, Caller
from benchmarks.slm_results import Shares, Tenant
from benchmarks.slm_servers import SHARED, SHARED_PER_SECOND, Bench, Workers
from domain.forecasts import ENOUGH
from domain.names import Queue
from workers.worker import SLOTS

TIMES: Final = 50
TENANTS: Final = tuple(f"{way}-{size}" for way in ("cost", "task") for size in ("small", "large"))
_QUEUED: Final = 3 * SLOTS[Queue.SLM_BATCH]
"""Calls of a tenant that are queued at any time: more than are in the worker's hands, where nobody chooses between them."""
_AT_ONCE: Final = 6
_LOOK_SECONDS: Final = 0.2
_SETTLING_SECONDS: Final = 5.0
_ALONE: Final = 0.15
"""Part of the time for which only one tenant asks, at the end."""


@dataclass
class _Demand:
    """A tenant that always has `wanted` calls queued."""

    bench: Bench
    caller: Caller
    wanted: int
    sent: int = 0
    calls: int = 0
    tokens: int = 0
    fewest: int = 0

    @property
    def queued(self) -> int:
        """Calls that the provider has not seen yet."""
        return self.sent - self.calls

    async def supply(self) -> None:
        """Queues what is missing; does not end by itself."""
        while True:
            if self.queued < self.wanted:
                self.sent += 1
                await self.caller.queue()
            else:
                await asyncio.sleep(_LOOK_SECONDS)

    async def watch(self) -> None:
        """Keeps the figures up to date; does not end by itself."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Reads what the provider has seen."""
        self.calls, self.tokens = await self.bench.seen(self.caller.name)
        self.fewest = min(self.fewest, self.queued)

    async def learn(self) -> None:
        """As many calls as forecasts rest on; an installation that is busy has them."""
        for _ in range(ENOUGH + 1):
            self.sent += 1
            await self.caller.complete()

    async def until(self, queued: int, *, at_least: bool) -> None:
        """Returns once so many are queued, or no more than that."""
        while True:
            if self.queued >= queued if at_least else self.queued <= queued:
                return
            await asyncio.sleep(_LOOK_SECONDS)


async def shares(bench: Bench, way: str, seconds: float, workers: Workers) -> Shares:
    """What each got while both wanted more for that long; `way` names the tenants.

    Both queues are long before anything of them is done: what a tenant gets while there is nobody to share with is counted,
    and would be made up for in the minute after.
    """
    wanted = min(_QUEUED, round(2 * SHARED_PER_SECOND * seconds))
    small, large = (
        _demand(bench, f"{way}-{size}", words, wanted) for size, words in (("small", WORDS), ("large", WORDS * TIMES))
    )
    async with bench.worker(workers.whole):
        for demand in (small, large):
            await demand.learn()
    async with _supplied((small, large)):
        async with bench.worker(workers.without_batch):
            for demand in (small, large):
                await demand.until(wanted, at_least=True)
        async with bench.worker(workers.whole):
            await asyncio.sleep(min(seconds, _SETTLING_SECONDS))
            (few, many), took = await _over((small, large), seconds)
            small.wanted = 0
            await small.until(0, at_least=False)
            (_, rest), took_alone = await _over((small, large), seconds * _ALONE)
            large.wanted = 0
            await large.until(0, at_least=False)
    found = Shares(
        seconds=took,
        per_second=SHARED_PER_SECOND,
        small=few,
        large=many,
        used=(few.calls + many.calls) / took / SHARED_PER_SECOND,
        alone=rest.calls / took_alone / SHARED_PER_SECOND,
    )
    say(f"shares by {way}: {few.tokens} and {many.tokens} tokens, {found.used:.0%} of the limit used, {found.alone:.0%} alone")
    return found


def _demand(bench: Bench, tenant: str, words: int, wanted: int) -> _Demand:
    return _Demand(bench, Caller.of(bench, tenant, tenant, SHARED, words=words, lane="batch"), wanted)


@asynccontextmanager
async def _supplied(demands: Sequence[_Demand]) -> AsyncGenerator[None]:
    """Each is supplied while the block runs, which leaves nothing wanted."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(demand.watch()) for demand in demands]
        tasks += [group.create_task(demand.supply()) for demand in demands for _ in range(_AT_ONCE)]
        yield
        for task in tasks:
            task.cancel()


async def _over(demands: Sequence[_Demand], seconds: float) -> tuple[list[Tenant], float]:
    """What each got in that time, and the time it really was."""
    for demand in demands:
        await demand.look()
        demand.fewest = demand.queued
    begun, before = time.monotonic(), [(demand.calls, demand.tokens) for demand in demands]
    await asyncio.sleep(seconds)
    for demand in demands:
        await demand.look()
    took = time.monotonic() - begun
    return [
        Tenant(words=of.caller.words, calls=of.calls - calls, tokens=of.tokens - tokens, fewest_queued=of.fewest)
        for of, (calls, tokens) in zip(demands, before, strict=True)
    ], took
