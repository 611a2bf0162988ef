"""What a governed session start costs beside raw Temporal: `make bench`.

Raw and ours run in turns on one embedded stack, so that whatever slows the machine slows both. Nothing here fails for being slow.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
from pathlib import Path

from temporalio.client import Client

from benchmarks.load import Start, measure, raw_start, session_start
from benchmarks.raw import connect
from benchmarks.results import Measured, Memory, Pair, Report
from benchmarks.run import PAGE, SESSIONS, say, this_run, write
from benchmarks.servers import Servers, running
from workers.worker import CACHED_WORKFLOWS

CONCURRENCIES = (1, 50)
_WARM_UP = 60
_SAMPLES = 80


async def compare(servers: Servers, client: Client, *, starts: int, runs: int) -> tuple[Pair, ...]:
    """Raw and ours in turns, at each concurrency."""
    pairs: list[Pair] = []
    async with raw_start(client, "tuned") as raw, session_start(servers) as ours:
        for start in (raw, ours):
            await measure(servers, start, count=_WARM_UP, concurrency=10)
        for concurrency in CONCURRENCIES:
            for number in range(runs):
                found = [await _run(servers, start, starts, concurrency) for start in (raw, ours)]
                pairs.append(Pair(raw=found[0], ours=found[1]))
                say(f"{concurrency:3} in flight, run {number + 1}: raw {_short(found[0])}; ours {_short(found[1])}")
    return tuple(pairs)


def _short(run: Measured) -> str:
    return f"p50 {run.p50_ms:.1f} ms, {run.per_second:.0f}/s"


async def _run(servers: Servers, start: Start, starts: int, concurrency: int) -> Measured:
    return await measure(servers, start, count=starts, concurrency=concurrency)


async def memory_over(servers: Servers, sessions: int) -> Memory:
    """The worker's memory while that many sessions are started and stay open."""
    samples: list[float] = []
    async with session_start(servers) as ours:
        for _ in range(_SAMPLES):
            await measure(servers, ours, count=max(1, sessions // _SAMPLES), concurrency=20)
            samples.append(servers.worker_rss() / 1e6)
    step = len(samples) // 4
    first, second, third, last = (statistics.median(samples[at * step : (at + 1) * step]) for at in range(4))
    say(f"memory by quarter: {first:.0f}, {second:.0f}, {third:.0f}, {last:.0f} MB")
    return Memory(sessions=sessions, cached_workflows=CACHED_WORKFLOWS, quarters_mb=(first, second, third, last))


async def bench(home: Path, *, starts: int, runs: int, sessions: int) -> Report:
    """Starts everything, measures, stops it."""
    async with running(home, raw=["tuned"]) as servers:
        os.environ["TEMPORAL_ADDRESS"] = servers.environment["TEMPORAL_ADDRESS"]
        os.environ["TEMPORAL_NAMESPACE"] = servers.environment["TEMPORAL_NAMESPACE"]
        pairs = await compare(servers, await connect(), starts=starts, runs=runs)
        memory = await memory_over(servers, sessions) if sessions else None
    return Report(**dict(this_run()), pairs=pairs, memory=memory)


def main() -> None:
    """Reads the sizes, runs, writes JSON and page."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--starts", type=int, default=1000, help="starts in each run")
    parser.add_argument("--runs", type=int, default=3, help="runs at each concurrency")
    parser.add_argument("--sessions", type=int, default=5000, help="sessions over which memory is watched; 0 leaves it out")
    parser.add_argument("--json", type=Path, default=SESSIONS, help="where the figures go")
    parser.add_argument("--page", type=Path, default=PAGE, help="where the page goes")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        sizes = {"starts": chosen.starts, "runs": chosen.runs, "sessions": chosen.sessions}
        report = asyncio.run(bench(Path(home) / "home", **sizes))
    write(report, chosen.json, chosen.page, sessions=chosen.json)


if __name__ == "__main__":
    main()
