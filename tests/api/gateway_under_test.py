"""The gateway as tests run it: the real application on a loopback port, on real Postgres, Valkey and Temporal."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
from edge_routes import Work
from edge_routes import router as edge_routes
from fastapi import FastAPI
from live import PUBLIC_URL, settings_of
from opentelemetry import trace

from adapters.postgres.connection import Pool
from adapters.postgres.identity import NewClient, PostgresStanding, create_client, ensure_tenant
from api.app import create_app
from api.services import Services
from domain.names import Scope
from runtime.admin import serve
from workers.composition import compose_gateway
from workers.embedded.stack import EmbeddedStack

__all__ = ["PUBLIC_URL", "Gateway", "StartGateway", "composed_gateway", "eventually", "served_gateway"]


@dataclass
class Gateway:
    """The running gateway, and what tests need to call it."""

    url: str
    app: FastAPI
    services: Services
    pool: Pool
    work: Work

    def http(self, **options: Any) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(base_url=self.url, timeout=20, trust_env=False, **options)

    async def client(self, *scopes: str) -> NewClient:
        """A fresh client in a fresh tenant; with all scopes when none is named."""
        tenant = f"t-{uuid.uuid4().hex[:12]}"
        await ensure_tenant(self.pool, tenant, "Test")
        made = await create_client(self.pool, tenant, f"cli_{uuid.uuid4().hex}", "test", scopes or tuple(Scope))
        assert made is not None
        return made

    def token(self, client: NewClient, **changes: Any) -> str:
        values: dict[str, Any] = {
            "tenant_id": client.tenant_id,
            "subject": client.client_id,
            "client_id": client.client_id,
            "scopes": client.scopes,
            "constitution_hash": None,
        }
        return self.services.tokens.mint(**(values | changes))[0]

    async def bearer(self, *scopes: str) -> dict[str, str]:
        """The header of a fresh client's token."""
        return {"Authorization": f"Bearer {self.token(await self.client(*scopes))}"}


StartGateway = Callable[..., Awaitable[Gateway]]
"""The fixtures `start_gateway`, with services by name, and `compose_gateway`, with settings by name."""


async def eventually(look: Callable[[], Awaitable[object]], wanted: object, seconds: float = 20) -> None:
    """Looks until it sees that; fails after that time, saying what it saw last."""
    deadline = asyncio.get_running_loop().time() + seconds
    while (seen := await look()) != wanted:
        assert asyncio.get_running_loop().time() < deadline, f"still {seen!r}, not {wanted!r}"
        await asyncio.sleep(0.1)


@asynccontextmanager
async def composed_gateway(stack: EmbeddedStack, pool: Pool, **settings: Any) -> AsyncIterator[Gateway]:
    """A gateway from the real composition root, with changed settings. It asks every time whether a client still stands."""
    for name in ("TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE"):
        os.environ[name] = stack.environment[name]
    configured = settings_of(stack, **({"rate_limit_per_minute": 1200} | settings))
    async with compose_gateway(configured, trace.NoOpTracer()) as composed:
        services = dataclasses.replace(composed, standing=PostgresStanding(pool, memory_seconds=0))
        async with served_gateway(services, pool) as gateway:
            yield gateway


@asynccontextmanager
async def served_gateway(services: Services, pool: Pool) -> AsyncIterator[Gateway]:
    """A gateway with these services."""
    app = create_app(services)
    app.router.routes.extend(edge_routes.routes)
    app.state.work = Work()
    async with serve(app, "127.0.0.1", 0) as port:
        yield Gateway(f"http://127.0.0.1:{port}", app, services, pool, app.state.work)
