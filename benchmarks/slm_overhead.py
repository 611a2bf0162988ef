"""What our path adds to one model call at a time, beside a raw workflow of one activity."""

from __future__ import annotations

from typing import Final

from benchmarks import raw
from benchmarks.load import Start, measure
from benchmarks.run import say
from benchmarks.servers import TENANT
from benchmarks.slm_load import Caller, completing
from benchmarks.slm_results import Overhead
from benchmarks.slm_servers import OPEN, Bench

_WARM_UP: Final = 20


async def overheads(bench: Bench, *, calls: int, runs: int) -> tuple[Overhead, ...]:
    """Raw, ours and ours streamed in turns."""
    client, caller = await raw.connect(), Caller.of(bench, TENANT, "overhead", OPEN)

    async def raw_call() -> None:
        await raw.call(client, raw.queue_of("tuned"))

    starts: tuple[Start, ...] = (raw_call, completing(caller), caller.first_text)
    for start in starts:
        await measure(bench.servers, start, count=min(_WARM_UP, calls), concurrency=1)
    found: list[Overhead] = []
    for number in range(runs):
        mine = [await measure(bench.servers, start, count=calls, concurrency=1) for start in starts]
        found.append(Overhead(raw=mine[0], ours=mine[1], first_text=mine[2]))
        shown = ", ".join(f"{name} {run.p50_ms:.1f} ms" for name, run in zip(("raw", "ours", "first text"), mine, strict=True))
        say(f"overhead, run {number + 1}: p50 {shown}")
    return tuple(found)
