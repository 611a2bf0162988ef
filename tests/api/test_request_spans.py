"""Spans of requests, as a collector receives them: named by route, joined to the caller's trace, without paths or values."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from fakes.otlp_collector import OtlpCollector
from gateway_under_test import StartGateway
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from runtime.telemetry import tracer_provider

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
async def collector() -> AsyncIterator[OtlpCollector]:
    async with OtlpCollector() as collector:
        yield collector


async def test_a_request_becomes_a_span(start_gateway: StartGateway, collector: OtlpCollector) -> None:
    provider = tracer_provider("gateway", collector.url, "local")
    gateway = await start_gateway(tracer=provider.get_tracer("test"))
    headers = await gateway.bearer() | {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    async with gateway.http() as http:
        assert (await http.get("/test/sessions/MARKER?q=MARKER", headers=headers)).status_code == 200
        assert (await http.get("/test/fail/unexpected", headers=headers)).status_code == 500
    await asyncio.to_thread(provider.shutdown)
    requests = [ExportTraceServiceRequest.FromString(body) for body in collector.received]
    (resource,) = {request.resource_spans[0].resource.SerializeToString() for request in requests}
    assert b"gateway" in resource
    spans = [span for request in requests for scope in request.resource_spans[0].scope_spans for span in scope.spans]
    assert [span.name for span in spans] == ["GET /test/sessions/{session_id}", "GET /test/fail/{how}"]
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    assert {span.parent_span_id.hex() for span in spans} == {"00f067aa0ba902b7"}
    assert [span.status.code for span in spans] == [0, 2]
    attributes = {item.key: item.value for item in spans[0].attributes}
    assert attributes["http.route"].string_value == "/test/sessions/{session_id}"
    assert attributes["http.response.status_code"].int_value == 200
    assert b"MARKER" not in b"".join(collector.received)
