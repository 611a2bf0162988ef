"""What the model backplane costs and keeps to: `make bench`.

Overhead of a call beside raw Temporal, lanes, fair shares and the ledger, against one model vendor that always takes the same
time, on one embedded stack. Nothing here fails for being slow.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.run import MODELS, PAGE, this_run, write
from benchmarks.slm_fairness import TENANTS, shares
from benchmarks.slm_lanes import lanes
from benchmarks.slm_ledger import OTHER, ledger
from benchmarks.slm_overhead import overheads
from benchmarks.slm_results import Fairness, SlmReport
from benchmarks.slm_servers import BY_COST, BY_TASK, LIMITED_PER_SECOND, Bench, slm_servers

VENDOR_SECONDS: Final = 0.05


@dataclass(frozen=True)
class Sizes:
    """How much is measured; 0 leaves a part out."""

    calls: int
    runs: int
    backlog: int
    interactive: int
    fairness_seconds: float
    ledger_seconds: float


async def bench(home: Path, sizes: Sizes) -> SlmReport:
    """Starts everything, measures, stops it."""
    tenants = (*TENANTS, OTHER)
    async with slm_servers(home, seconds=VENDOR_SECONDS, tenants=tenants) as found:
        os.environ["TEMPORAL_ADDRESS"] = found.servers.environment["TEMPORAL_ADDRESS"]
        os.environ["TEMPORAL_NAMESPACE"] = found.servers.environment["TEMPORAL_NAMESPACE"]
        async with found.worker():
            cost = await overheads(found, calls=sizes.calls, runs=sizes.runs) if sizes.calls else ()
            budgets = await ledger(found, sizes.ledger_seconds) if sizes.ledger_seconds else None
        fair = await _fairness(found, sizes.fairness_seconds) if sizes.fairness_seconds else None
        above = await lanes(found, backlog=sizes.backlog, calls=sizes.interactive) if sizes.backlog else None
    return SlmReport(
        **dict(this_run()),
        vendor_seconds=VENDOR_SECONDS,
        per_second=LIMITED_PER_SECOND,
        overheads=cost,
        lanes=above,
        fairness=fair,
        ledger=budgets,
    )


async def _fairness(found: Bench, seconds: float) -> Fairness:
    by_cost = await shares(found, "cost", seconds, BY_COST)
    return Fairness(by_cost=by_cost, by_task=await shares(found, "task", seconds, BY_TASK))


def main() -> None:
    """Reads the sizes, runs, writes JSON and page."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__, epilog="A size of 0 leaves that part out.")
    parser.add_argument("--calls", type=int, default=150, help="calls in each run of the overhead")
    parser.add_argument("--runs", type=int, default=3, help="runs of the overhead")
    parser.add_argument("--backlog", type=int, default=10_000, help="batch calls queued")
    parser.add_argument("--interactive", type=int, default=300, help="interactive calls above them, in each case")
    parser.add_argument("--fairness-seconds", type=float, default=120, help="how long shares are counted, in each case")
    parser.add_argument("--ledger-seconds", type=float, default=5, help="how long each case of the ledger is")
    parser.add_argument("--json", type=Path, default=MODELS, help="where the figures go")
    parser.add_argument("--page", type=Path, default=PAGE, help="where the page goes")
    chosen = vars(parser.parse_args())
    json, to = chosen.pop("json"), chosen.pop("page")
    with tempfile.TemporaryDirectory() as home:
        report = asyncio.run(bench(Path(home), Sizes(**chosen)))
    write(report, json, to, models=json)


if __name__ == "__main__":
    main()
