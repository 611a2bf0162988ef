"""What the model benchmark runs on: the stack with a model vendor beside it, and workers that come and go."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.http_connection import Connections, connections
from benchmarks.model_server import MODEL
from benchmarks.servers import TENANT, Servers, running, working
from domain.names import Queue
from workers.embedded.part import Child, Part
from workers.embedded.ports import Ports
from workers.embedded.services import healthz, process_environment, soma_command

OPEN: Final = f"open/{MODEL}"
LIMITED: Final = f"limited/{MODEL}"
SHARED: Final = f"shared/{MODEL}"
"""The same model without a limit, and under two limits; they answer from the same server."""
LIMITED_PER_SECOND: Final = 20
SHARED_PER_SECOND: Final = 10
"""Less than the machine can do, so that the provider is what is scarce."""
WORKER: Final = soma_command("worker")
WITHOUT_BATCH: Final = (*WORKER, *(part for queue in Queue if queue is not Queue.SLM_BATCH for part in ("--queue", queue.value)))
_WITHOUT_COST: Final = (sys.executable, "-m", "benchmarks.worker_without_cost")

_PROVIDER: Final = """\
[providers.{name}]
kind = "openai"
base_url = "http://127.0.0.1:{port}/v1"
{limit}
[[models]]
provider = "{name}"
name = "{model}"
"""
_ROLE: Final = f"""
[roles.dialogue_reasoning]
models = ["{OPEN}"]
"""


@dataclass(frozen=True)
class Workers:
    """Commands: a worker, and one that leaves batch calls queued."""

    whole: Sequence[str]
    without_batch: Sequence[str]


BY_COST: Final = Workers(WORKER, WITHOUT_BATCH)
BY_TASK: Final = Workers(_WITHOUT_COST, (*_WITHOUT_COST, "--without-batch"))


@dataclass(frozen=True)
class Bench:
    """Everything but a worker."""

    servers: Servers
    gateway: Connections
    vendor: Connections
    unlimited: Path

    def worker(self, command: Sequence[str] = WORKER, *, limits: bool = True) -> AbstractAsyncContextManager[None]:
        """A worker while the block runs; without `limits` that of `limited` is gone."""
        return working(self.servers, "worker", command=command, settings=None if limits else {"MODELS_FILE": str(self.unlimited)})

    async def seen(self, name: str) -> tuple[int, int]:
        """Calls and tokens that the vendor has seen of prompts that begin with this word."""
        _, answer = await self.vendor.ask("GET", "/seen", b"", {})
        seen = json.loads(answer).get(name, {"calls": 0, "tokens": 0})
        return seen["calls"], seen["tokens"]


@asynccontextmanager
async def slm_servers(home: Path, *, seconds: float, tenants: Sequence[str] = ()) -> AsyncGenerator[Bench]:
    """Starts them in directories of `home`, with the worker of the raw workflow; all are gone at the end. Raises
    DependencyUnavailable."""
    port = Ports(None, {}).choose(["model-server"])["model-server"]
    files = {"limited": home / "limited.toml", "unlimited": home / "unlimited.toml"}
    await asyncio.to_thread(files["limited"].write_text, _models(port, LIMITED_PER_SECOND))
    await asyncio.to_thread(files["unlimited"].write_text, _models(port, None))
    settings = {"MODELS_FILE": str(files["limited"]), "TENANT_MODEL_REQUESTS_PER_MINUTE": "1000000"}
    gateway, everybody = soma_command("gateway"), (TENANT, *tenants)
    async with (
        _model_server(home / "vendor", port, seconds),
        running(home / "home", raw=["tuned"], workers=0, settings=settings, gateway=gateway, tenants=everybody) as servers,
        connections(servers.gateway_port) as callers,
        connections(port) as vendor,
    ):
        yield Bench(servers, callers, vendor, files["unlimited"])


def _models(port: int, limit: int | None) -> str:
    """MODELS_FILE, with that limit of the provider `limited`."""
    limits = {"open": None, "limited": limit, "shared": SHARED_PER_SECOND}
    providers = (
        _PROVIDER.format(name=name, port=port, model=MODEL, limit=f"requests_per_second = {of}\n" if of else "")
        for name, of in limits.items()
    )
    return "\n".join((*providers, _ROLE))


@asynccontextmanager
async def _model_server(home: Path, port: int, seconds: float) -> AsyncGenerator[None]:
    part = Part(
        name="model-server",
        argv=(sys.executable, "-m", "benchmarks.model_server", str(port), str(seconds)),
        env=process_environment({}),
        ready=healthz(port),
        start_seconds=60.0,
    )
    child = Child(part, home=home, tied=True)
    await asyncio.to_thread(child.start)
    try:
        yield
    finally:
        await asyncio.to_thread(child.stop)
