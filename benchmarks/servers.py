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
from adapters.postgres.connection import create_pool
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


@dataclass(frozen=True)
class Servers:
    """Everything that runs. `groups` names the processes whose CPU time is counted together."""

    stack: EmbeddedStack
    environment: Mapping[str, str]
    gateway_port: int
    token: str
    groups: dict[str, tuple[Child, ...]]

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
) -> AsyncGenerator[Servers]:
    """Starts the stack in `home` and our processes on it; all are gone at the end.

    `raw` are the raw workers wanted, `workers` the number of our worker processes, `settings` change their environment and
    the gateway's. Raises DependencyUnavailable.
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
        token = await _prepare(stack, environment)
        ours = [_worker(environment, ports[f"worker-{number}"], number) for number in range(workers)]
        gateway = _gateway(environment, ports["gateway"])
        yardsticks = [_raw(environment, flavour, home) for flavour in raw]
        children = {part.name: Child(part, home=home, tied=True) for part in (*ours, gateway, *yardsticks)}
        for child in children.values():
            exits.push_async_callback(asyncio.to_thread, child.stop)
            await asyncio.to_thread(child.start)
        groups = {name: (child,) for name, child in stack.children.items()} | {
            "worker": tuple(children[part.name] for part in ours),
            "gateway": (children["gateway"],),
        }
        groups |= {part.name: (children[part.name],) for part in yardsticks}
        yield Servers(stack, environment, ports["gateway"], token, groups)


async def _prepare(stack: EmbeddedStack, environment: Mapping[str, str]) -> str:
    """Tenant, client and the built-in constitution; an access token of the client."""
    pool = await create_pool(environment["DATABASE_URL"], 1, "bench")
    try:
        await ensure_tenant(pool, TENANT, "Benchmark")
        client = await create_client(pool, TENANT, "cli_bench", "benchmark")
        if client is None:
            raise RuntimeError("The benchmark needs a home of its own.")
        document = builtin()
        envelope = sign_builtin(read_signing_key(stack.keys.constitution))
        await PostgresConstitutions(pool).activate(constitution_hash(document), document.version, envelope)
    finally:
        await pool.close()
    tokens = JoseTokens.from_file(
        Path(environment["SIGNING_KEY_FILE"]), issuer=environment["PUBLIC_URL"], audience=_AUDIENCE, lifetime_seconds=3600
    )
    token, _ = tokens.mint(
        tenant_id=TENANT,
        subject=client.client_id,
        client_id=client.client_id,
        scopes=tuple(scope.value for scope in Scope),
        constitution_hash=None,
    )
    return token


def _worker(environment: Mapping[str, str], port: int, number: int) -> Part:
    """`soma worker`, as `soma up` runs it."""
    return Part(
        name=f"worker-{number}",
        argv=soma_command("worker"),
        env=process_environment({**environment, "WORKER_ADMIN_PORT": str(port)}),
        ready=healthz(port),
        start_seconds=60.0,
    )


def _gateway(environment: Mapping[str, str], port: int) -> Part:
    return Part(
        name="gateway",
        argv=(sys.executable, "-m", "benchmarks.gateway_without_turns"),
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
