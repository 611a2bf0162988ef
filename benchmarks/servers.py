"""What is measured, as processes: the embedded stack, our worker and gateway, and the worker of the raw workflow."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from adapters.constitution import constitution_hash
from adapters.postgres.connection import Pool, create_pool
from adapters.postgres.constitutions import PostgresConstitutions
from adapters.postgres.identity import create_client, ensure_tenant
from adapters.signing import read_signing_key
from adapters.tokens import JoseTokens
from benchmarks.raw import Flavour
from domain.names import Scope
from workers.embedded.constitution import builtin, sign_builtin
from workers.embedded.part import Child, Part, descendants
from workers.embedded.ports import Ports
from workers.embedded.services import healthz, process_environment, soma_command
from workers.embedded.stack import EmbeddedStack

TENANT: Final = "bench"
_AUDIENCE: Final = "somagent"
_WORKER: Final = soma_command("worker")
_WITHOUT_TURNS: Final = (sys.executable, "-m", "benchmarks.gateway_without_turns")


@dataclass(frozen=True)
class Servers:
    """Everything that runs. `groups` names the processes whose CPU time is counted together."""

    stack: EmbeddedStack
    environment: Mapping[str, str]
    gateway_port: int
    tokens: Mapping[str, str]
    groups: dict[str, tuple[Child, ...]]

    @property
    def token(self) -> str:
        """An access token of the benchmark's first tenant; `tokens` has one of each."""
        return self.tokens[TENANT]

    def cpu_seconds(self) -> dict[str, float]:
        """CPU time so far, user and system, by group."""
        return {name: sum(_cpu_seconds(child) for child in children) for name, children in self.groups.items()}

    def worker_rss(self) -> int:
        """Resident memory of our workers, in bytes."""
        return sum(psutil.Process(child.pid).memory_info().rss for child in self.groups["worker"])


def _cpu_seconds(child: Child) -> float:
    if child.pid is None:
        return 0.0
    family = [psutil.Process(child.pid), *descendants(child.pid)]
    return sum(times.user + times.system for times in (process.cpu_times() for process in family))


@asynccontextmanager
async def running(
    home: Path,
    *,
    raw: Sequence[Flavour],
    workers: int = 1,
    settings: Mapping[str, str] | None = None,
    gateway: Sequence[str] = _WITHOUT_TURNS,
    tenants: Sequence[str] = (TENANT,),
) -> AsyncGenerator[Servers]:
    """Starts the stack in `home` and our processes on it; all are gone at the end.

    `raw` are the raw workers wanted, `workers` the number of our worker processes, `settings` change their environment and
    the gateway's, whose command is `gateway`. Raises DependencyUnavailable.
    """
    async with AsyncExitStack() as exits:
        stack = EmbeddedStack(home, tied=True)
        exits.push_async_callback(asyncio.to_thread, stack.stop)
        await asyncio.to_thread(stack.start)
        ports = Ports(None, {}).choose(["gateway", "gateway-admin", *(f"worker-{number}" for number in range(workers))])
        environment = {
            **stack.environment,
            "GATEWAY_PORT": str(ports["gateway"]),
            "GATEWAY_ADMIN_PORT": str(ports["gateway-admin"]),
            "PUBLIC_URL": f"http://127.0.0.1:{ports['gateway']}",
            # The one client of the benchmark makes more requests than a client may.
            "RATE_LIMIT_PER_MINUTE": "1000000",
            "TOKEN_LIFETIME_SECONDS": "3600",
            **(settings or {}),
        }
        tokens = await _prepare(stack, environment, tenants)
        ours = [_worker(environment, ports[f"worker-{number}"], f"worker-{number}", _WORKER) for number in range(workers)]
        yardsticks = [_raw(environment, flavour, home) for flavour in raw]
        parts = (*ours, _gateway(environment, ports["gateway"], gateway), *yardsticks)
        children = {part.name: Child(part, home=home, tied=True) for part in parts}
        for child in children.values():
            exits.push_async_callback(asyncio.to_thread, child.stop)
            await asyncio.to_thread(child.start)
        groups = {name: (child,) for name, child in stack.children.items()} | {
            "worker": tuple(children[part.name] for part in ours),
            "gateway": (children["gateway"],),
        }
        groups |= {part.name: (children[part.name],) for part in yardsticks}
        yield Servers(stack, environment, ports["gateway"], tokens, groups)


@asynccontextmanager
async def working(
    servers: Servers, name: str, *, command: Sequence[str] = _WORKER, settings: Mapping[str, str] | None = None
) -> AsyncGenerator[None]:
    """One more worker process, while the block runs: `command` starts it, `settings` change it. Raises DependencyUnavailable."""
    port = Ports(None, {}).choose([name])[name]
    part = _worker({**servers.environment, **(settings or {})}, port, name, command)
    child = Child(part, home=servers.stack.home, tied=True)
    await asyncio.to_thread(child.start)
    others = servers.groups["worker"]
    servers.groups["worker"] = (*others, child)
    try:
        yield
    finally:
        servers.groups["worker"] = others
        await asyncio.to_thread(child.stop)


async def _prepare(stack: EmbeddedStack, environment: Mapping[str, str], tenants: Sequence[str]) -> dict[str, str]:
    """Tenants, a client of each and the built-in constitution; an access token of each client."""
    tokens = JoseTokens.from_file(
        Path(environment["SIGNING_KEY_FILE"]), issuer=environment["PUBLIC_URL"], audience=_AUDIENCE, lifetime_seconds=3600
    )
    pool = await create_pool(environment["DATABASE_URL"], 1, "bench")
    try:
        clients = {tenant: await _client(pool, tenant) for tenant in tenants}
        document = builtin()
        envelope = sign_builtin(read_signing_key(stack.keys.constitution))
        await PostgresConstitutions(pool).activate(constitution_hash(document), document.version, envelope)
    finally:
        await pool.close()
    return {tenant: _token(tokens, tenant, client) for tenant, client in clients.items()}


async def _client(pool: Pool, tenant: str) -> str:
    await ensure_tenant(pool, tenant, "Benchmark")
    client = await create_client(pool, tenant, f"cli_{tenant}", "benchmark")
    if client is None:
        raise RuntimeError("The benchmark needs a home of its own.")
    return client.client_id


def _token(tokens: JoseTokens, tenant: str, client: str) -> str:
    token, _ = tokens.mint(
        tenant_id=tenant,
        subject=client,
        client_id=client,
        scopes=tuple(scope.value for scope in Scope),
        constitution_hash=None,
    )
    return token


def _worker(environment: Mapping[str, str], port: int, name: str, command: Sequence[str]) -> Part:
    """A worker process; by default `soma worker`, as `soma up` runs it."""
    return Part(
        name=name,
        argv=tuple(command),
        env=process_environment({**environment, "WORKER_ADMIN_PORT": str(port)}),
        ready=healthz(port),
        start_seconds=60.0,
    )


def _gateway(environment: Mapping[str, str], port: int, command: Sequence[str]) -> Part:
    return Part(
        name="gateway",
        argv=tuple(command),
        env=process_environment(environment),
        ready=healthz(port),
        start_seconds=60.0,
    )


def _raw(environment: Mapping[str, str], flavour: Flavour, home: Path) -> Part:
    mark = home / f"raw-{flavour}.ready"
    return Part(
        name=f"raw-{flavour}",
        argv=(sys.executable, "-m", "benchmarks.raw", flavour, str(mark)),
        env=process_environment(environment),
        ready=mark.exists,
        start_seconds=60.0,
    )
