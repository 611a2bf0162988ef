"""The product as tests run it: gateway and workers from the real composition root, in one process, on real servers.

The gateway listens on a loopback port and is called over HTTP; workers poll the real Temporal with the sandbox on.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
from opentelemetry import trace
from temporalio.client import Client
from temporalio.worker import Worker

from adapters.constitution import constitution_hash, sign_constitution
from adapters.postgres.connection import Pool, create_pool
from adapters.postgres.constitutions import PostgresConstitutions
from adapters.postgres.identity import NewClient, create_client, ensure_tenant
from adapters.signing import read_signing_key
from api.app import create_app
from api.services import Services
from domain.names import Queue, Scope
from runtime.admin import serve
from runtime.client import connect
from runtime.settings import Settings
from workers.composition import Activities, compose_gateway, compose_worker
from workers.embedded.constitution import builtin
from workers.embedded.stack import EmbeddedStack
from workers.search_attributes import ensure_search_attributes
from workers.worker import make_worker

PUBLIC_URL = "https://gateway.example"


class Caller:
    """One client of a tenant of its own, calling the gateway over HTTP."""

    def __init__(self, http: httpx2.AsyncClient, client: NewClient, token: str) -> None:
        self.http, self.client = http, client
        self.tenant = client.tenant_id
        self.headers = {"Authorization": f"Bearer {token}"}

    async def get(self, path: str, **options: Any) -> httpx2.Response:
        return await self.http.get(path, headers=self.headers | options.pop("headers", {}), **options)

    async def post(self, path: str, body: object | None = None, *, key: str | None = None, **headers: str) -> httpx2.Response:
        """POSTs JSON with a fresh Idempotency-Key, unless one is given."""
        sent = self.headers | {"Idempotency-Key": key or str(uuid.uuid4())} | headers
        return await self.http.post(path, json={} if body is None else body, headers=sent)

    async def edit(
        self, method: str, path: str, body: object, *, if_match: str | None = None, key: str | None = None
    ) -> httpx2.Response:
        """Sends a change of the version that `if_match` names, with a fresh Idempotency-Key unless one is given."""
        sent = self.headers | {"Idempotency-Key": key or str(uuid.uuid4())}
        return await self.http.request(
            method, path, json=body, headers=sent | ({} if if_match is None else {"If-Match": if_match})
        )

    async def put(self, path: str, body: object, **options: str) -> httpx2.Response:
        return await self.edit("PUT", path, body, **options)

    async def patch(self, path: str, body: object, **options: str) -> httpx2.Response:
        return await self.edit("PATCH", path, body, **options)

    async def delete(self, path: str) -> httpx2.Response:
        return await self.http.delete(path, headers=self.headers)

    async def start(self, prompt: str | None = None, *, key: str | None = None, **body: Any) -> httpx2.Response:
        sent = body if prompt is None else body | {"prompt": prompt}
        return await self.post("/v1/sessions/start", sent, key=key)

    async def send(self, session_id: str, content: str, *, wait: int = 20, key: str | None = None) -> httpx2.Response:
        path = f"/v1/sessions/{session_id}/messages"
        return await self.post(path, {"content": content}, key=key, Prefer=f"wait={wait}")

    async def document(self, text: str, name: str = "notes.txt", media_type: str = "text/plain") -> str:
        answer = await self.post("/v1/documents", {"name": name, "content": text, "media_type": media_type})
        assert answer.status_code == 201, answer.text
        return answer.json()["document_id"]

    async def transcript(self, session_id: str) -> dict[str, Any]:
        answer = await self.get(f"/v1/sessions/{session_id}?limit=200")
        assert answer.status_code == 200, answer.text
        return answer.json()


@dataclass
class Live:
    """The running product."""

    settings: Settings
    services: Services
    temporal: Client
    pool: Pool
    activities: Activities
    workers: list[Worker]
    url: str

    @asynccontextmanager
    async def caller(self, *scopes: str, tenant: str | None = None) -> AsyncIterator[Caller]:
        """A fresh client, in a fresh tenant unless one is named, with all scopes unless some are."""
        tenant = tenant or f"t-{uuid.uuid4().hex[:12]}"
        await ensure_tenant(self.pool, tenant, "Test")
        client = await create_client(self.pool, tenant, f"cli_{uuid.uuid4().hex}", "test", scopes or tuple(Scope))
        assert client is not None
        token, _ = self.services.tokens.mint(
            tenant_id=tenant, subject=client.client_id, client_id=client.client_id, scopes=client.scopes, constitution_hash=None
        )
        async with httpx2.AsyncClient(base_url=self.url, timeout=70, trust_env=False) as http:
            yield Caller(http, client, token)

    def run_of(self, session_id: str, tenant: str) -> str:
        return f"session/{tenant}/{session_id}"


def settings_of(stack: EmbeddedStack, **changes: Any) -> Settings:
    """The settings a process would read from the stack's environment."""
    known = {name.lower(): value for name, value in stack.environment.items() if name.lower() in Settings.model_fields}
    return Settings(**({"public_url": PUBLIC_URL, "rate_limit_per_minute": 100_000} | known | changes))


@asynccontextmanager
async def live(
    stack: EmbeddedStack,
    *,
    cached_workflows: int = 500,
    queues: tuple[Queue, ...] = tuple(Queue),
    sandbox: bool = True,
    **changes: Any,
) -> AsyncIterator[Live]:
    """Gateway and workers with these settings changed; `queues` are those that are polled."""
    for name in ("TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE"):
        os.environ[name] = stack.environment[name]
    settings = settings_of(stack, **changes)
    async with AsyncExitStack() as exits:
        client = await connect(settings, sandbox=sandbox)
        await ensure_search_attributes(client)
        pool = await create_pool(stack.environment["DATABASE_URL"], 4, "tests")
        exits.push_async_callback(pool.close)
        await activate_constitution(stack, pool)
        parts = await exits.enter_async_context(compose_worker(settings, client))
        workers = [make_worker(client, queue, parts, cached_workflows=cached_workflows) for queue in queues]
        for worker in workers:
            await exits.enter_async_context(worker)
        services = await exits.enter_async_context(compose_gateway(settings, trace.NoOpTracer()))
        port = await exits.enter_async_context(serve(create_app(services), "127.0.0.1", 0, drain_seconds=1))
        yield Live(settings, services, client, pool, parts, workers, f"http://127.0.0.1:{port}")


async def activate_constitution(stack: EmbeddedStack, pool: Pool) -> None:
    """The built-in constitution, signed with the stack's key, in force."""
    document = builtin()
    envelope = sign_constitution(document, read_signing_key(stack.keys.constitution))
    await PostgresConstitutions(pool).activate(constitution_hash(document), document.version, envelope)


async def until(condition: Any, seconds: float = 20.0, every: float = 0.05) -> Any:
    """Waits until the awaitable that `condition` makes is true, and returns it; fails after that time."""
    async with asyncio.timeout(seconds):
        while True:
            if value := await condition():
                return value
            await asyncio.sleep(every)
