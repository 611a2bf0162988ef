"""A trace as a collector receives it: from the caller's span through gateway, workflow and activity to the model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import httpx2
import pytest
from fakes.openai_server import FakeOpenAI
from fakes.otlp_collector import OtlpCollector
from live import activate_constitution, until
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from own_stack import own_stack
from soma_process import process

from adapters.postgres.connection import create_pool
from adapters.postgres.identity import create_client, ensure_tenant
from domain.names import Scope
from workers.embedded.ports import free_ports
from workers.embedded.stack import EmbeddedStack

TRACE, CALLERS_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
MARKER = "lighthouse"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    with own_stack(tmp_path_factory.mktemp("traces")) as stack:
        yield stack


@pytest.fixture
async def credentials(stack: EmbeddedStack) -> AsyncIterator[tuple[str, str]]:
    """Id and secret of a client."""
    pool = await create_pool(stack.environment["DATABASE_URL"], 1, "tests")
    await activate_constitution(stack, pool)
    await ensure_tenant(pool, "t-traced", "Traced")
    client = await create_client(pool, "t-traced", "cli_traced", "test", tuple(Scope))
    assert client is not None
    yield client.client_id, client.secret
    await pool.close()


async def asked(url: str, credentials: tuple[str, str]) -> httpx2.Response:
    """The answer to one model request that belongs to the caller's trace."""
    async with httpx2.AsyncClient(base_url=url, timeout=60, trust_env=False) as http:

        async def ready() -> bool:
            try:
                return (await http.get("/readyz")).status_code == 200
            except httpx2.TransportError:
                return False

        await until(ready, 60)
        token = await http.post("/v1/oauth/token", data={"grant_type": "client_credentials"}, auth=credentials)
        headers = {
            "Authorization": f"Bearer {token.json()['access_token']}",
            "Idempotency-Key": "traced",
            "traceparent": f"00-{TRACE}-{CALLERS_SPAN}-01",
        }
        return await http.post("/v1/slm/complete", json={"prompt": f"What is a {MARKER}?"}, headers=headers)


def way_up(spans: dict[str, Span], span: Span) -> list[str]:
    """The names from a span up to the one that began it, and the id of the caller's span."""
    names = [span.name]
    while (parent := spans.get(span.parent_span_id.hex())) is not None:
        names.append(parent.name)
        span = parent
    return [*names, span.parent_span_id.hex()]


async def test_a_trace_runs_from_the_request_to_the_model(stack: EmbeddedStack, credentials: tuple[str, str]) -> None:
    (port,) = map(str, free_ports(1))
    async with OtlpCollector() as collector, FakeOpenAI() as model:
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "MODEL_BASE_URL": model.url, "MODEL_NAME": "fake-model"}
        processes = ExitStack()
        try:
            processes.enter_context(process(stack, "worker", **settings))
            processes.enter_context(process(stack, "gateway", GATEWAY_PORT=port, **settings))
            answer = await asked(f"http://127.0.0.1:{port}", credentials)
        finally:
            # The collector, on this loop, takes what they still have when they end.
            await asyncio.to_thread(processes.close)
        assert answer.status_code == 200, answer.text
        exports = [ExportTraceServiceRequest.FromString(body) for body in collector.received]
    found = [span for export in exports for of in export.resource_spans for scope in of.scope_spans for span in scope.spans]
    spans = {span.span_id.hex(): span for span in found if span.trace_id.hex() == TRACE}
    (chat,) = [span for span in spans.values() if span.name == "chat fake-model"]
    assert way_up(spans, chat) == [
        "chat fake-model",
        "RunActivity:slm.complete",
        "StartActivity:slm.complete",
        "StartWorkflow:slm.request",
        "POST /v1/slm/complete",
        CALLERS_SPAN,
    ]
    assert "RunWorkflow:slm.request" in {span.name for span in spans.values()}
    assert MARKER.encode() not in b"".join(collector.received)
