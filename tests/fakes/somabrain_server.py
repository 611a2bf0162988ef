"""SomaBrain as its code answers (read at commit 9902512), oddities included, over a loopback socket.

- The place of an item is a hash of `universe::key`: equal keys of two tenants overwrite each other.
- Recall goes by the header X-Tenant-ID, not by a tenant in the body; long-term hits of another tenant or namespace are dropped.
- Working memory comes back unranked, of every namespace, with score 1.0.
- A write that was only queued, or lost, is answered with 200.
- The API is mounted at `/api` and at `/`.
"""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

from fakes.http_server import LoopbackServer
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.responses import StreamingResponse

Mode = Literal[
    "ok",
    "circuit_open",  # 200: journalled for replay
    "wm_failed",  # 200: stored, but not in working memory
    "lost",  # 200: neither stored nor queued, no word about it
    "forbidden",  # 403: the second check's token differs
    "unprocessable",
    "limited",
    "error",
    "bad_gateway",
    "unreachable",
    "timeout",
    "nonsense",
    "html",
    "truncated",
    "echo",  # answers for another key
    "leak",  # long-term hits of every tenant
    "odd",  # results of odd shapes
]
_STATUS = {
    "forbidden": (403, "invalid token"),
    "limited": (429, "rate limit exceeded"),
    "error": (500, "unexpected error"),
    "bad_gateway": (502, "memory backend HTTP error: 500"),
    "unreachable": (503, "memory backend unreachable"),
    "timeout": (504, "memory backend timeout"),
}


@dataclass
class Seen:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class _Stored:
    payload: dict[str, Any]
    coordinate: list[float] = field(default_factory=list)


def _words(text: object) -> set[str]:
    return {word.strip(".,?!").lower() for word in str(text).split()}


class FakeSomaBrain(LoopbackServer):
    """`modes` are used up one a request, before `mode` holds."""

    def __init__(self, mode: Mode = "ok") -> None:
        self.token, self.mode = "brain-token", mode
        self.modes: deque[Mode] = deque()
        self.seen: list[Seen] = []
        self.long_term: dict[str, _Stored] = {}
        self.working: list[dict[str, Any]] = []
        self.journal: list[dict[str, Any]] = []
        router = APIRouter()
        router.add_api_route("/memory/remember", self._remember, methods=["POST"])
        router.add_api_route("/memory/recall", self._recall, methods=["POST"])
        app = FastAPI()
        app.include_router(router)
        app.include_router(router, prefix="/api")
        super().__init__(app)

    async def _enter(self, request: Request) -> tuple[Mode, dict[str, Any], Response | None]:
        mode = self.modes.popleft() if self.modes else self.mode
        body = await request.json()
        self.seen.append(Seen(request.url.path, dict(request.headers), body))
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return mode, body, JSONResponse({"detail": "Unauthorized"}, 401)
        if mode in _STATUS:
            status, detail = _STATUS[mode]
            return mode, body, JSONResponse({"detail": detail}, status, {"Retry-After": "2"} if status == 429 else None)
        if mode == "unprocessable":
            return mode, body, _unprocessable("key")
        if mode == "nonsense":
            return mode, body, JSONResponse([1, "two"])
        if mode == "html":
            return mode, body, Response("<html>welcome</html>", media_type="text/html")
        if mode == "truncated":
            return mode, body, StreamingResponse(_cut(), media_type="application/json")
        return mode, body, None

    async def _remember(self, request: Request) -> Response:
        mode, body, early = await self._enter(request)
        if early is not None:
            return early
        for name, kind in (("tenant", str), ("namespace", str), ("key", str), ("value", dict)):
            if not isinstance(body.get(name), kind):
                return _unprocessable(name)
        universe = body.get("universe") or "real"
        value = body["value"]
        payload = value | {
            "task": value.get("task") or value.get("text") or body["key"],
            "tenant_id": body["tenant"],
            "tenant": body["tenant"],
            "namespace": body["namespace"],
            "key": body["key"],
            "memory_type": "episodic",
            "universe": universe,
            "_actor": request.headers.get("x-actor", "memory-api"),
            "tags": body.get("tags", []),
            "signals": {},
            "meta": body.get("meta"),
        }
        warnings: list[str] = []
        persisted = mode not in ("circuit_open", "lost")
        fast = request.headers.get("x-soma-fast-ack") == "true"
        if mode == "wm_failed":
            warnings.append(f"working-memory-admit-failed:could not admit {value.get('text')!r}")
        elif mode != "lost":
            self.working.append(payload)
        if mode == "circuit_open":
            self.journal.append(payload)
            warnings.append("memory-backend-unavailable:queued-for-replay (circuit open)")
        place = hashlib.sha256(f"{universe}::{body['key']}".encode()).hexdigest()
        coordinate = [int(place[at : at + 4], 16) / 65536 for at in (0, 4, 8)]
        if fast:
            persisted = False
            warnings.append("ltm-persist:queued-async")
        if persisted or fast:
            self.long_term[place] = _Stored(payload, coordinate)
        return JSONResponse(
            {
                "ok": True,
                "tenant": body["tenant"],
                "namespace": body["namespace"],
                "key": "another" if mode == "echo" else body["key"],
                "coordinate": coordinate if persisted else None,
                "promoted_to_wm": mode not in ("wm_failed", "lost"),
                "persisted_to_ltm": persisted,
                "queued_for_ltm": fast,
                "deduplicated": False,
                "importance": 0.5,
                "novelty": 0.5,
                "ttl_applied": None,
                "trace_id": body.get("trace_id"),
                "request_id": request.headers.get("x-request-id"),
                "warnings": warnings,
                "signals": {},
            }
        )

    async def _recall(self, request: Request) -> Response:
        mode, body, early = await self._enter(request)
        if early is not None:
            return early
        if not isinstance(body.get("query"), str):
            return _unprocessable("query")
        tenant = request.headers.get("x-tenant-id", "standalone")
        namespace = body.get("namespace") or request.headers.get("x-namespace", "default")
        universe, layer = body.get("universe") or "real", body.get("layer") or "both"
        results: list[Any] = []
        if layer in ("wm", "both"):
            working = [payload for payload in self.working if payload["tenant"] == tenant]
            results += [{"content": payload, "layer": "wm", "score": 1.0} for payload in working]
        wm_hits = len(results)
        if layer in ("ltm", "both"):
            results += self._long_term_hits(body, tenant, namespace, universe, everyone=mode == "leak")
        if mode == "odd":
            results += [None, "text", {"content": "text"}, {"content": {"tenant": tenant}, "layer": "ltm", "score": float("1e9")}]
        return JSONResponse(
            {
                "tenant": tenant,
                "namespace": namespace,
                "results": results,
                "wm_hits": wm_hits,
                "ltm_hits": len(results) - wm_hits,
                "duration_ms": 1.0,
                "total_results": len(results),
                "degraded": mode == "circuit_open",
                "degraded_reasons": ["ltm-unavailable: the index said no"] if mode == "circuit_open" else [],
            }
        )

    def _long_term_hits(
        self, body: dict[str, Any], tenant: str, namespace: str, universe: str, *, everyone: bool
    ) -> list[dict[str, Any]]:
        asked = _words(body["query"])
        hits: list[dict[str, Any]] = []
        for stored in self.long_term.values():
            payload = stored.payload
            own = payload["tenant"] == tenant and payload["namespace"] == namespace and payload["universe"] == universe
            shared = len(asked & _words(payload["task"]))
            if (own or everyone) and shared:
                score = shared / max(len(asked), 1)
                hits.append({"content": payload, "layer": "ltm", "score": score, "coordinate": stored.coordinate})
        hits.sort(key=lambda hit: -hit["score"])
        return hits[: int(body.get("top_k", 10))]


async def _cut():
    yield '{"ok": true, "tena'
    raise ConnectionAbortedError("as told")


def _unprocessable(name: str) -> JSONResponse:
    return JSONResponse({"detail": [{"type": "missing", "loc": ["body", "payload", name], "msg": "Field required"}]}, 422)
