"""Starts many, some at once, and times each."""

from __future__ import annotations

import asyncio
import json
import math
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from temporalio.client import Client

from benchmarks import raw
from benchmarks.http_connection import connections
from benchmarks.results import Measured
from benchmarks.servers import Servers

Start = Callable[[], Awaitable[float | None]]
"""One start, answered; raises when the answer is not the expected one. The seconds that count, where that is not all it took."""

_PROMPT: Final = (
    "Please read the attached maintenance plan of pump station {number} and tell me which of its three valves has to be "
    "inspected first, how long the inspection takes, and whom the shift leader has to inform before it begins."
)


@asynccontextmanager
async def raw_start(client: Client, flavour: raw.Flavour) -> AsyncGenerator[Start]:
    """Starts of the raw workflow."""
    queue = raw.queue_of(flavour)

    async def start() -> None:
        await raw.start(client, queue)

    yield start


@asynccontextmanager
async def session_start(servers: Servers) -> AsyncGenerator[Start]:
    """Starts of a session through the gateway, over connections kept alive. Each prompt is another text."""
    fixed = {"Authorization": f"Bearer {servers.token}", "Content-Type": "application/json", "Prefer": "wait=0"}
    async with connections(servers.gateway_port) as gateway:

        async def start() -> None:
            body = json.dumps({"prompt": _PROMPT.format(number=uuid.uuid4().hex)}).encode()
            headers = fixed | {"Idempotency-Key": str(uuid.uuid4())}
            status, answer = await gateway.ask("POST", "/v1/sessions/start", body, headers)
            if status != 201:
                raise RuntimeError(f"The gateway answered {status}: {answer.decode(errors='replace')}")

        yield start


async def measure(servers: Servers, start: Start, *, count: int, concurrency: int) -> Measured:
    """`count` starts with `concurrency` in flight, and the CPU time that every process spent meanwhile."""
    latencies: list[float] = []
    left = iter(range(count))

    async def one_after_another() -> None:
        for _ in left:
            begun = time.perf_counter()
            took = await start()
            latencies.append(time.perf_counter() - begun if took is None else took)

    before, own = servers.cpu_seconds(), time.process_time()
    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(one_after_another())
    seconds = time.perf_counter() - begun
    spent = {name: after - before[name] for name, after in servers.cpu_seconds().items()} | {"driver": time.process_time() - own}
    return Measured(
        starts=count,
        concurrency=concurrency,
        p50_ms=percentile(latencies, 50) * 1000,
        p99_ms=percentile(latencies, 99) * 1000,
        per_second=count / seconds,
        cpu_ms_per_start={name: value / count * 1000 for name, value in spent.items()},
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(len(ranked) * percent / 100) - 1)]
