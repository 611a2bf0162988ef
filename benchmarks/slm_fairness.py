"""Two tenants of equal weight, one with prompts fifty times as long, who both always want more than the provider gives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from benchmarks.run import say
from benchmarks.slm_load import WORDS, Caller, queue_many
from benchmarks.slm_results import Shares, Tenant
from benchmarks.slm_servers import LIMITED, Bench
from domain.forecasts import ENOUGH

TIMES: Final = 50
TENANTS: Final = tuple(f"{way}-{size}" for way in ("cost", "task") for size in ("small", "large"))
_WAITING: Final = 80
"""Calls of a tenant that are queued at any time: more than the slots of the lane."""
_LOOK_SECONDS: Final = 0.2
_SETTLING: Final = 0.25
"""Part of the time that passes before it counts."""
_ALONE: Final = 0.15


@dataclass
class _Demand:
    """A tenant that always has calls queued, for as long as `wants`."""

    bench: Bench
    caller: Caller
    sent: int = 0
    wants: bool = True

    async def waiting(self) -> int:
        """Calls that the provider has not seen yet."""
        calls, _ = await self.bench.seen(self.caller.name)
        return self.sent - calls

    async def top_up(self) -> None:
        """Queues what is missing; does not end by itself."""
        while True:
            if self.wants and (missing := _WAITING - await self.waiting()) > 0:
                self.sent += missing
                await queue_many(self.caller, missing, at_once=5)
            await asyncio.sleep(_LOOK_SECONDS)


async def shares(bench: Bench, way: str, seconds: float) -> Shares:
    """What each got while both wanted more for that long; `way` names the tenants."""
    small = _demand(bench, f"{way}-small", WORDS)
    large = _demand(bench, f"{way}-large", WORDS * TIMES)
    for demand in (small, large):
        await _learn(demand)
    async with _topped_up((small, large)):
        await asyncio.sleep(seconds * _SETTLING)
        (few, many), took = await _over(bench, (small, large), seconds)
        await _stopped(small)
        (_, rest), took_alone = await _over(bench, (small, large), seconds * _ALONE)
        await _stopped(large)
    found = Shares(
        seconds=took,
        small=few,
        large=many,
        used=(few.calls + many.calls) / took / bench.per_second,
        alone=rest.calls / took_alone / bench.per_second,
    )
    say(f"shares by {way}: {few.tokens} and {many.tokens} tokens, {found.used:.0%} of the limit used, {found.alone:.0%} alone")
    return found


def _demand(bench: Bench, tenant: str, words: int) -> _Demand:
    return _Demand(bench, Caller.of(bench, tenant, tenant, LIMITED, words=words, lane="batch"))


async def _learn(demand: _Demand) -> None:
    """As many calls as forecasts rest on; an installation that is busy has them."""
    for _ in range(ENOUGH + 1):
        demand.sent += 1
        await demand.caller.complete()


@asynccontextmanager
async def _topped_up(demands: Sequence[_Demand]) -> AsyncGenerator[None]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(demand.top_up()) for demand in demands]
        yield
        for task in tasks:
            task.cancel()


async def _over(bench: Bench, demands: Sequence[_Demand], seconds: float) -> tuple[list[Tenant], float]:
    """What each got in that time, and the time it really was."""
    begun, before = time.monotonic(), [await bench.seen(demand.caller.name) for demand in demands]
    await asyncio.sleep(seconds)
    took, after = time.monotonic() - begun, [await bench.seen(demand.caller.name) for demand in demands]
    return [
        Tenant(words=demand.caller.words, calls=now[0] - then[0], tokens=now[1] - then[1])
        for demand, then, now in zip(demands, before, after, strict=True)
    ], took


async def _stopped(demand: _Demand) -> None:
    """Returns once the provider has seen every call there will be."""
    demand.wants = False
    while True:
        if await demand.waiting() == 0:
            return
        await asyncio.sleep(_LOOK_SECONDS)
