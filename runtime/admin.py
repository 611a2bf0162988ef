"""The admin port of a process: its metrics and its health, for operators, never for clients."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, nullcontext

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from domain.errors import DependencyUnavailable
from runtime.tls import TlsFiles, renewed, server_context

Healthy = Callable[[], Awaitable[bool]]
_STARTUP_SECONDS = 10.0


def admin_app(registry: CollectorRegistry, healthy: Healthy) -> Starlette:
    """`/metrics` in Prometheus' text format, and `/healthz`: 200 while `healthy` says so, else 503."""

    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(_request: Request) -> Response:
        well = await healthy()
        return JSONResponse({"status": "ok" if well else "failed"}, 200 if well else 503)

    return Starlette(routes=[Route("/metrics", metrics), Route("/healthz", healthz)])


class _GuestServer(uvicorn.Server):
    """A server within a process that has signal handlers of its own."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Says when it listens."""
        await super().startup(sockets)
        self.up.set()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leaves the signals alone."""
        yield


@asynccontextmanager
async def serve(
    app: ASGIApp, host: str, port: int, *, drain_seconds: int = 1, tls: TlsFiles | None = None
) -> AsyncGenerator[int]:
    """Serves the app within the block and gives the port, a free one for port 0; plain HTTP without `tls`. The app's lifespan is
    not run. At the end open requests get `drain_seconds`. Raises DependencyUnavailable when the port is taken or the files of
    `tls` are of no use."""
    context = server_context(tls) if tls is not None else None
    try:
        # Bound here, because uvicorn ends the whole process when it cannot.
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise DependencyUnavailable(f"Port {port} on {host} cannot be listened on ({error.strerror}); set another.") from error
    # Connections inherit it. asyncio sets it only on sockets that name TCP as their protocol, which those of `create_server` do
    # not; without it every answer on a kept connection waits 40 ms for the client's acknowledgement of its head.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=drain_seconds,
        ssl_context_factory=(lambda _config, _default: context) if context is not None else None,
    )
    server = _GuestServer(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        async with asyncio.timeout(_STARTUP_SECONDS):
            await server.up.wait()
        async with renewed(context, tls) if context is not None and tls is not None else nullcontext():
            yield int(listener.getsockname()[1])
    finally:
        server.should_exit = True
        await serving
