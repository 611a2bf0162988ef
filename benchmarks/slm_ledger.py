"""Many callers on one budget, and what that costs the callers of another one."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from benchmarks.reservations import Callers, Order, Outcome
from benchmarks.run import say
from benchmarks.servers import TENANT
from benchmarks.slm_results import Contention, Ledger, Reserved
from benchmarks.slm_servers import Bench
from workers.embedded.services import process_environment

OTHER: Final = "other"
CROWD: Final = 200
OTHERS: Final = 8
_PROCESSES: Final = 4
"""Among which the crowd is divided, as among workers."""


async def ledger(bench: Bench, seconds: float) -> Ledger:
    """Each case for that long. Database and processors are shared throughout."""
    few = Callers(tenant=OTHER, callers=OTHERS)
    part = few.model_copy(update={"callers": OTHERS // _PROCESSES})
    one = Callers(tenant=TENANT, callers=CROWD // _PROCESSES)
    each = one.model_copy(update={"shared": False})
    async with _processes(bench.servers.environment) as processes:

        async def case(name: str, in_crowd: tuple[Callers, ...], apart: tuple[Callers, ...]) -> Reserved:
            found = await _case(processes, in_crowd, apart, seconds)
            rates = {"crowd": found.crowd, "others": found.others}
            say(f"ledger, {name}: " + ", ".join(f"{who} {rate:.0f}/s" for who, rate in rates.items() if rate is not None))
            return found

        return Ledger(
            crowd=CROWD,
            others=OTHERS,
            seconds=seconds,
            others_alone=await case("others alone", (), (few,)),
            crowd_alone=await case("crowd alone on one budget", (one,), ()),
            apart=Contention(
                budget_each=await case("a budget each", (each,), (few,)),
                one_budget=await case("one budget", (one,), (few,)),
            ),
            together=Contention(
                budget_each=await case("a budget each, connections shared", (each, part), ()),
                one_budget=await case("one budget, connections shared", (one, part), ()),
            ),
        )


async def _case(
    processes: Sequence[Process], in_crowd: tuple[Callers, ...], apart: tuple[Callers, ...], seconds: float
) -> Reserved:
    """`in_crowd` works in each process but the last, `apart` in that one."""
    *many, last = processes
    orders = [(process, in_crowd) for process in many] + [(last, apart)]
    busy = [(process, Order(groups=groups, seconds=seconds)) for process, groups in orders if groups]
    for process, order in busy:
        _tell(process, order.model_dump_json())
    for process, _ in busy:
        await _heard(process)
    for process, _ in busy:
        _tell(process, "go")
    outcomes = [(order, Outcome.model_validate_json(await _heard(process))) for process, order in busy]
    rates: dict[str, float] = {}
    for order, outcome in outcomes:
        for group, settled in zip(order.groups, outcome.settled, strict=True):
            rates[group.tenant] = rates.get(group.tenant, 0.0) + settled / outcome.seconds
    refused = sum(outcome.refused for _, outcome in outcomes)
    return Reserved(crowd=rates.get(TENANT), others=rates.get(OTHER), refused=refused)


@asynccontextmanager
async def _processes(environment: Mapping[str, str]) -> AsyncGenerator[list[Process]]:
    command = (sys.executable, "-m", "benchmarks.reservations")
    started = [
        await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, env=process_environment(environment))
        for _ in range(_PROCESSES + 1)
    ]
    try:
        yield started
    finally:
        for process in started:
            if process.stdin is not None:
                process.stdin.close()
        await asyncio.gather(*(process.wait() for process in started))


def _tell(process: Process, line: str) -> None:
    if process.stdin is not None:
        process.stdin.write(f"{line}\n".encode())


async def _heard(process: Process) -> bytes:
    """Its next line. Raises RuntimeError when it has died."""
    line = await process.stdout.readline() if process.stdout is not None else b""
    if not line:
        raise RuntimeError("A process of callers ended before its time; what it said stands above.")
    return line
