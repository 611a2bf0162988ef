"""The outermost layer of the gateway, in plain ASGI: ids, trace, security headers, the access log and metrics.

It also answers for exceptions nobody expected, so that these too have ids and tell nothing of our insides.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from time import perf_counter
from typing import Any, Final, cast

import structlog
from opentelemetry import trace
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.context import EdgeContext
from api.problems import internal_error, problem_response
from api.services import Services
from domain.ids import Prefix
from runtime.ids import new_id
from runtime.telemetry import server_span

UNMATCHED: Final = "unmatched"
CLIENT_GONE: Final = 499
"""Status in log and metrics of a request whose sender went away; it is never sent."""

_REQUEST_ID: Final = re.compile(r"^[A-Za-z0-9._-]{1,128}$")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECURITY_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
log = structlog.get_logger("api.access")


class _Answer:
    """Passes an answer on with the edge's headers, and remembers how it went."""

    def __init__(self, send: Send, context: EdgeContext, fixed: MutableMapping[str, str]) -> None:
        self._send = send
        self._context = context
        self._fixed = fixed
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self._context.request_id
            headers.update(self._context.headers)
            for name, value in self._fixed.items():
                headers.setdefault(name, value)
        await self._send(message)


class Edge:
    """Pure ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        """Wraps the application."""
        self._app = app
        self._services = services
        self._fixed = dict(_SECURITY_HEADERS)
        if services.settings.public_url.startswith("https://"):
            self._fixed["Strict-Transport-Security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        with server_span(self._services.tracer, f"HTTP {method}", headers) as span:
            context = EdgeContext(_request_id(headers), trace.format_trace_id(span.get_span_context().trace_id))
            context.bind(scope)
            structlog.contextvars.clear_contextvars()
            structlog.contextvars.bind_contextvars(request_id=context.request_id, trace_id=context.trace_id)
            await self._answer(scope, receive, _Answer(send, context, self._fixed), context, span)

    async def _answer(self, scope: Scope, receive: Receive, answer: _Answer, context: EdgeContext, span: trace.Span) -> None:
        metrics = self._services.metrics
        started = perf_counter()
        status = CLIENT_GONE
        metrics.began()
        try:
            status = await self._guarded(scope, receive, answer)
        finally:
            # Also when the task was cancelled, which is how a server that stops ends its open requests.
            seconds = perf_counter() - started
            method = scope["method"] if scope["method"] in _METHODS else "OTHER"
            route = _route(scope)
            metrics.ended(method, route, status, seconds)
            span.update_name(f"{method} {route}")
            span.set_attributes({"http.request.method": method, "http.route": route, "http.response.status_code": status})
            if status >= 500:
                span.set_status(trace.StatusCode.ERROR)
            _log_access(context, method, route, status, seconds)

    async def _guarded(self, scope: Scope, receive: Receive, answer: _Answer) -> int:
        """The status that was answered."""
        try:
            await self._app(scope, receive, answer)
        except ClientDisconnect:
            return CLIENT_GONE
        except Exception:
            log.exception("request.failed", route=_route(scope))
            if answer.status is None:
                request = Request(scope, receive)
                response = problem_response(request, internal_error(), self._services.settings.public_url)
                await response(scope, receive, answer)
            return 500
        return answer.status or CLIENT_GONE


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.match(given) else new_id(Prefix.REQUEST)


def _route(scope: Scope) -> str:
    """The template that matched, never the path itself."""
    return cast(str, getattr(cast(Any, scope.get("route")), "path", UNMATCHED))


def _log_access(context: EdgeContext, method: str, route: str, status: int, seconds: float) -> None:
    actor = context.actor
    log.info(
        "request",
        method=method,
        route=route,
        status=status,
        duration_ms=round(seconds * 1000, 1),
        tenant=actor.tenant_id if actor else None,
        client=actor.client_id if actor else None,
    )
