"""Four workers as processes of their own: one behind a link to Redis, one behind a link to Postgres, two like any other."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import httpx2
from e2e.soma_command import ROOT
from fakes.breakable_link import BreakableLink
from live import until

from workers.embedded.ports import free_ports
from workers.embedded.stack import EmbeddedStack

QUEUES = "--queue interactive --queue slm --queue platform"


@dataclass
class Fleet:
    """`redis` and `postgres` are the links of the first and the second worker; `stopped` is the third."""

    redis: BreakableLink
    postgres: BreakableLink
    workers: list[subprocess.Popen[bytes]]

    @property
    def stopped(self) -> subprocess.Popen[bytes]:
        return self.workers[2]


@asynccontextmanager
async def fleet(stack: EmbeddedStack, **settings: str) -> AsyncIterator[Fleet]:
    """All four poll when the block begins; each ends with it."""
    redis_url, database_url = stack.environment["REDIS_URL"], stack.environment["DATABASE_URL"]
    async with AsyncExitStack() as exits:
        redis = await exits.enter_async_context(BreakableLink(_port(redis_url)))
        postgres = await exits.enter_async_context(BreakableLink(_port(database_url)))
        ports = [str(port) for port in free_ports(4)]
        own: list[dict[str, str]] = [
            {"REDIS_URL": _through(redis_url, redis.port)},
            {"DATABASE_URL": _through(database_url, postgres.port)},
            {},
            {},
        ]
        workers: list[subprocess.Popen[bytes]] = []
        for number, port in enumerate(ports):
            worker = _started(stack, {**settings, **own[number], "WORKER_ADMIN_PORT": port})
            exits.callback(_end, worker)
            workers.append(worker)
        async with httpx2.AsyncClient(trust_env=False, timeout=5) as http:
            for port in ports:
                await until(lambda port=port: _polls(http, port), 60)
        yield Fleet(redis, postgres, workers)


def _started(stack: EmbeddedStack, settings: dict[str, str]) -> subprocess.Popen[bytes]:
    environment = {**os.environ, **stack.environment, **settings, "WORKFLOW_SANDBOX": "false", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "workers.cli.main", "worker", *QUEUES.split()]
    return subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _end(worker: subprocess.Popen[bytes]) -> None:
    worker.send_signal(signal.SIGCONT)
    worker.terminate()
    try:
        worker.wait(timeout=30)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()


async def _polls(http: httpx2.AsyncClient, port: str) -> bool:
    try:
        return "temporal_num_pollers" in (await http.get(f"http://127.0.0.1:{port}/metrics")).text
    except httpx2.TransportError:
        await asyncio.sleep(0.2)
        return False


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None, url
    return port


def _through(url: str, port: int) -> str:
    """The address by way of the link."""
    parts = urlsplit(url)
    credentials = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{credentials}@127.0.0.1:{port}" if credentials else f"127.0.0.1:{port}"))
