"""An OpenTelemetry collector on a loopback port: takes OTLP/HTTP trace exports and keeps their bodies."""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from runtime.admin import serve


class OtlpCollector:
    """`async with OtlpCollector() as collector:` serves at `collector.url`; `received` holds protobuf bodies in order."""

    def __init__(self) -> None:
        self.url = ""
        self.received: list[bytes] = []
        self._exits = AsyncExitStack()

    async def _take(self, request: Request) -> Response:
        if request.headers.get("content-type") != "application/x-protobuf":
            return Response(status_code=415)
        self.received.append(await request.body())
        return Response(b"", media_type="application/x-protobuf")

    async def __aenter__(self) -> Self:
        app = Starlette(routes=[Route("/v1/traces", self._take, methods=["POST"])])
        port = await self._exits.enter_async_context(serve(app, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._exits.aclose()
