"""The gateway as tests run it: the real application on a loopback port, on real Postgres, Valkey and Temporal."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
from edge_routes import Work
from edge_routes import router as edge_routes
from fastapi import FastAPI
from opentelemetry import trace
from temporalio.client import Client

from adapters.postgres.blobs import PostgresBlobs
from adapters.postgres.connection import Pool, create_pool
from adapters.postgres.documents import PostgresDocuments
from adapters.postgres.events import PostgresEvents
from adapters.postgres.idempotency import PostgresClaims
from adapters.postgres.identity import NewClient, PostgresClientDirectory, PostgresStanding, create_client, ensure_tenant
from adapters.postgres.notices import Notices
from adapters.postgres.session_reads import PostgresSessionReads
from adapters.rate_limit import EdgeRateLimiter
from adapters.tokens import JoseTokens
from api.app import create_app
from api.services import Services
from domain.constitution import ActiveConstitution
from domain.errors import ConstitutionUnavailable
from domain.names import Scope
from runtime.admin import serve
from runtime.metrics import HttpMetrics, new_registry
from runtime.settings import Settings
from workers.embedded.stack import EmbeddedStack
from workers.probes import gateway_probes

PUBLIC_URL = "https://gateway.example"


class NoConstitution:
    """Implements `ConstitutionSource` as an installation does that has none yet."""

    async def current(self) -> ActiveConstitution:
        raise ConstitutionUnavailable("No constitution is stored yet; store one.")


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

    async def client(self, *scopes: Scope) -> NewClient:
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

    async def bearer(self, *scopes: Scope) -> dict[str, str]:
        """The header of a fresh client's token."""
        return {"Authorization": f"Bearer {self.token(await self.client(*scopes))}"}


StartGateway = Callable[..., Awaitable[Gateway]]
"""The fixture `start_gateway`: settings as a dictionary, services by name."""


def settings_of(stack: EmbeddedStack, **changes: Any) -> Settings:
    """The settings a process would read from the stack's environment."""
    known = {name.lower(): value for name, value in stack.environment.items() if name.lower() in Settings.model_fields}
    return Settings(**({"public_url": PUBLIC_URL} | known | changes))


async def eventually(look: Callable[[], Awaitable[object]], wanted: object, seconds: float = 20) -> None:
    """Looks until it sees that; fails after that time, saying what it saw last."""
    deadline = asyncio.get_running_loop().time() + seconds
    while (seen := await look()) != wanted:
        assert asyncio.get_running_loop().time() < deadline, f"still {seen!r}, not {wanted!r}"
        await asyncio.sleep(0.1)


@asynccontextmanager
async def running_gateway(stack: EmbeddedStack, pool: Pool, settings: dict[str, Any], **replaced: Any) -> AsyncIterator[Gateway]:
    """A gateway with changed settings and replaced services."""
    configured = settings_of(stack, **settings)
    async with AsyncExitStack() as exits:
        token_pool = await create_pool(stack.environment["DATABASE_TOKEN_URL"], 2, "api-tests")
        exits.push_async_callback(token_pool.close)
        redis_url = configured.redis_url.get_secret_value() if configured.redis_url else None
        limiter = EdgeRateLimiter(redis_url)
        exits.push_async_callback(limiter.aclose)
        notices = Notices(stack.environment["DATABASE_URL"])
        exits.push_async_callback(notices.close)
        events = PostgresEvents(pool, notices)
        temporal = await Client.connect(
            stack.environment["TEMPORAL_ADDRESS"], namespace=stack.environment["TEMPORAL_NAMESPACE"], lazy=True
        )
        constitution = NoConstitution()
        assert configured.signing_key_file is not None
        values: dict[str, Any] = {
            "settings": configured,
            "temporal": temporal,
            "tokens": JoseTokens.from_file(
                configured.signing_key_file, issuer=PUBLIC_URL, audience="somagent", lifetime_seconds=900
            ),
            "clients": PostgresClientDirectory(token_pool),
            "standing": PostgresStanding(pool, memory_seconds=0),
            "claims": PostgresClaims(pool),
            "constitution": constitution,
            "blobs": PostgresBlobs(pool),
            "sessions": PostgresSessionReads(pool, events.wait),
            "documents": PostgresDocuments(pool),
            "events": events,
            "rate_limiter": limiter,
            "probes": gateway_probes(pool, temporal, limiter, constitution),
            "metrics": HttpMetrics(new_registry()),
            "tracer": trace.NoOpTracer(),
        }
        services = Services(**(values | replaced))
        app = create_app(services)
        app.router.routes.extend(edge_routes.routes)
        app.state.work = Work()
        port = await exits.enter_async_context(serve(app, "127.0.0.1", 0))
        yield Gateway(f"http://127.0.0.1:{port}", app, services, pool, app.state.work)
