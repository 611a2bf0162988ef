"""Interactive calls above a long queue of batch calls to the same provider."""

from __future__ import annotations

import time
from typing import Final

from benchmarks.load import measure
from benchmarks.results import Measured
from benchmarks.run import say
from benchmarks.servers import TENANT
from benchmarks.slm_load import Caller, completing, queue_many
from benchmarks.slm_results import Lanes
from benchmarks.slm_servers import LIMITED, WITHOUT_BATCH, Bench

_STEP: Final = 500
_WARM_UP: Final = 10


async def lanes(bench: Bench, *, backlog: int, calls: int) -> Lanes:
    """Starts the workers it needs itself: while the queue is filled nobody works on it, so that it is as long as it is said."""
    async with bench.worker():
        idle = await _interactive(bench, "idle", calls)
    async with bench.worker(WITHOUT_BATCH):
        begun = time.monotonic()
        await _fill(bench, backlog)
        filled = time.monotonic() - begun
    before, _ = await bench.seen("batch")
    async with bench.worker():
        limited = await _interactive(bench, "limited", calls)
        between, _ = await bench.seen("batch")
    async with bench.worker(limits=False):
        unlimited = await _interactive(bench, "unlimited", calls)
        after, _ = await bench.seen("batch")
    return Lanes(
        idle=idle,
        limited=limited,
        unlimited=unlimited,
        queued=backlog,
        queued_per_second=backlog / filled,
        waiting=(backlog - before, backlog - between),
        done=(between - before, after - between),
    )


async def _fill(bench: Bench, backlog: int) -> None:
    caller = Caller.of(bench, TENANT, "batch", LIMITED, lane="batch")
    for done in range(0, backlog, _STEP):
        count, begun = min(_STEP, backlog - done), time.monotonic()
        await queue_many(caller, count)
        say(f"lanes: {done + count} batch calls queued, {count / (time.monotonic() - begun):.0f} a second")


async def _interactive(bench: Bench, name: str, calls: int) -> Measured:
    """One call at a time, after some that do not count."""
    start = completing(Caller.of(bench, TENANT, "interactive", LIMITED))
    await measure(bench.servers, start, count=min(_WARM_UP, calls), concurrency=1)
    found = await measure(bench.servers, start, count=calls, concurrency=1)
    say(f"lanes, {name}: p50 {found.p50_ms:.0f} ms, p99 {found.p99_ms:.0f} ms")
    return found
