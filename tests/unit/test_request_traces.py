"""Trace context: a caller's is continued, a malformed one replaced, and there is always one."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from runtime.telemetry import current_trace_id, current_traceparent, server_span, start_tracing

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACERS = [trace.NoOpTracer(), TracerProvider(shutdown_on_exit=False).get_tracer("test")]


@pytest.mark.parametrize("tracer", TRACERS)
def test_a_callers_trace_goes_on(tracer: trace.Tracer) -> None:
    with server_span(tracer, "request", {"traceparent": PARENT}):
        assert current_trace_id() == "4bf92f3577b34da6a3ce929d0e0e4736"
        assert (current_traceparent() or "").startswith("00-4bf92f3577b34da6a3ce929d0e0e4736-")
    assert current_trace_id() is None
    assert current_traceparent() is None


@pytest.mark.parametrize("tracer", TRACERS)
@pytest.mark.parametrize(
    "given",
    [
        "",
        "nonsense",
        PARENT.upper(),
        PARENT + "-more",
        "ff" + PARENT[2:],
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        PARENT.replace("00f067aa0ba902b7", "0" * 16),
    ],
)
def test_without_a_sound_one_a_trace_begins(tracer: trace.Tracer, given: str) -> None:
    ids: set[str | None] = set()
    for _ in range(2):
        with server_span(tracer, "request", {"traceparent": given}):
            ids.add(current_trace_id())
    assert len(ids) == 2
    assert "4bf92f3577b34da6a3ce929d0e0e4736" not in ids
    assert all(found is not None and len(found) == 32 and found != "0" * 32 for found in ids)


def test_without_a_collector_nothing_is_started() -> None:
    assert start_tracing("gateway", None, "local") is None
