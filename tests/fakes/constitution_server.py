"""A web server that serves one constitution: with an ETag, not at all, or badly."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any

from fakes.http_server import LoopbackServer
from fastapi import FastAPI, Request, Response


class ConstitutionServer(LoopbackServer):
    """Serves `envelope` (or the raw `body`) with `status`; `served` and `unchanged` count full answers and 304s."""

    def __init__(self, envelope: dict[str, Any]) -> None:
        super().__init__(FastAPI())
        self.envelope = envelope
        self.body: bytes | None = None
        self.status = 200
        self.delay = 0.0
        self.served = 0
        self.unchanged = 0
        self.app.add_api_route("/constitution.json", self._serve, methods=["GET"])

    @property
    def url(self) -> str:
        return f"{self.base}/constitution.json"

    async def _serve(self, request: Request) -> Response:
        await asyncio.sleep(self.delay)
        if self.status != 200:
            return Response(status_code=self.status)
        body = self.body if self.body is not None else json.dumps(self.envelope).encode()
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        if request.headers.get("if-none-match") == etag:
            self.unchanged += 1
            return Response(status_code=304, headers={"ETag": etag})
        self.served += 1
        return Response(body, media_type="application/json", headers={"ETag": etag})
