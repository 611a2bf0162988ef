"""Traces: W3C Trace Context in and out, spans to an OTLP/HTTP collector when one is named.

Without a collector nothing is recorded, and each request still has a trace id, for problem bodies, logs and events.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from secrets import randbits
from typing import Final

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_PROPAGATOR: Final = TraceContextTextMapPropagator()
_TRACEPARENT: Final = re.compile(r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")


def start_tracing(service: str, endpoint: str | None, region: str) -> TracerProvider | None:
    """Makes a provider that exports to the collector at `endpoint` (OTLP/HTTP, without `/v1/traces`) and makes it the
    process's own. None without an endpoint. The caller calls `shutdown()` at the end, which flushes. Once per process."""
    if endpoint is None:
        return None
    provider = tracer_provider(service, endpoint, region)
    trace.set_tracer_provider(provider)
    return provider


def tracer_provider(service: str, endpoint: str, region: str) -> TracerProvider:
    """A provider that exports to that collector."""
    # Half a second of start-up that only a traced process pays.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    resource = Resource.create({"service.name": service, "service.namespace": "somagent", "cloud.region": region})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")))
    return provider


@contextmanager
def server_span(tracer: trace.Tracer, name: str, headers: Mapping[str, str]) -> Generator[trace.Span]:
    """The span of an incoming request, child of its `traceparent` when that is well-formed, and current within the block.

    Where nothing is recorded it is a span that only carries ids: the caller's, or fresh ones."""
    # The propagator takes the version's future fields too; what is echoed back is kept to version 00.
    carrier = dict(headers) if _TRACEPARENT.match(headers.get("traceparent", "")) else {}
    parent = _PROPAGATOR.extract(carrier)
    span = tracer.start_span(name, context=parent, kind=trace.SpanKind.SERVER)
    if not span.get_span_context().is_valid:
        span = trace.NonRecordingSpan(trace.SpanContext(randbits(128) or 1, randbits(64) or 1, is_remote=False))
    with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        yield span


def current_trace_id() -> str | None:
    """32 hex digits; None outside a trace."""
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else None


def current_traceparent() -> str | None:
    """The `traceparent` header of the current span (W3C Trace Context); None outside a trace."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent")
