"""A model vendor behind OpenAI's protocol, over a loopback socket: answers from the prompt, or misbehaves as told.

In a test: `async with FakeOpenAI() as fake: fake.url, fake.calls, fake.mode = "rate_limited"`. In a process of its own:
`PYTHONPATH=tests python -m fakes.openai_server --port 8099`, steered with
`POST /control {"mode": "slow", "latency": 5}` and read with `GET /calls`. The vendor's own client holds it to its word.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from fakes.http_server import LoopbackServer
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

Mode = Literal[
    "ok",  # answers at once
    "slow",  # answers after `latency` seconds, or when `release()` is called
    "rate_limited",  # 429 with Retry-After
    "error",  # 500
    "unavailable",  # 503
    "unauthorized",  # 401
    "quota",  # 429 that waiting does not cure
    "truncated",  # the body breaks off
    "broken_json",
    "empty",  # no choices
    "no_usage",
    "filtered",  # finish_reason content_filter
    "length",  # used up before an answer
    "nonsense",  # JSON of another shape
    "drip",  # a byte now and then, for ever
    "modern",  # refuses `max_tokens`, as newer models do
]
MODES: tuple[str, ...] = get_args(Mode)


@dataclass
class Call:
    """One request as it arrived."""

    idempotency_key: str | None
    authorization: str | None
    body: dict[str, Any]
    at: float = field(default_factory=time.time)
    finished: bool = False


def _envelope(status: int, kind: str, code: str | None, param: str | None = None, **headers: str) -> JSONResponse:
    error = {"message": "the vendor's words, perhaps with the prompt in them", "type": kind, "param": param, "code": code}
    return JSONResponse({"error": error}, status, headers)


def _tokens(text: str) -> int:
    return len(text.split())


class FakeOpenAI(LoopbackServer):
    """`modes` (a deque) are used up one a call, before `mode` holds. `by_key` counts calls per Idempotency-Key.

    `version` is what the answering model's name has beyond that of the model asked for, as vendors do.
    """

    def __init__(
        self, *, mode: Mode = "ok", latency: float = 60.0, retry_after: str = "1", api_key: str | None = None, port: int = 0
    ) -> None:
        self.mode: Mode = mode
        self.modes: deque[Mode] = deque()
        self.latency = latency
        self.retry_after = retry_after
        self.api_key = api_key
        self.version = ""
        self.calls: list[Call] = []
        self._arrivals = threading.Condition()
        self._released = False
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        app = FastAPI()
        app.add_api_route("/v1/chat/completions", self._complete, methods=["POST"])
        app.add_api_route("/v1/models", self._models, methods=["GET"])
        app.add_api_route("/control", self._control, methods=["POST"])
        app.add_api_route("/calls", self._read_calls, methods=["GET"])
        super().__init__(app, port)

    @property
    def url(self) -> str:
        """What MODEL_BASE_URL is set to."""
        return f"{self.base}/v1"

    @property
    def by_key(self) -> Counter[str | None]:
        return Counter(call.idempotency_key for call in self.calls)

    def release(self) -> None:
        """Lets every slow call answer, now and from now on."""
        self._released = True
        for loop, waiting in self._waiting:
            loop.call_soon_threadsafe(waiting.set)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Within the block calls wait; at its end they are answered, and later ones at once."""
        self._released, self.mode = False, "slow"
        try:
            yield
        finally:
            self.mode = "ok"
            self.release()

    async def arrived(self, calls: int = 1, seconds: float = 10.0) -> None:
        """Returns when that many calls have come in. Raises TimeoutError."""

        def wait() -> bool:
            with self._arrivals:
                return self._arrivals.wait_for(lambda: len(self.calls) >= calls, seconds)

        if not await asyncio.to_thread(wait):
            raise TimeoutError(f"{len(self.calls)} of {calls} calls came in {seconds:g} seconds")

    async def _complete(self, request: Request) -> Response:
        mode = self.modes.popleft() if self.modes else self.mode
        authorization = request.headers.get("authorization")
        call = Call(request.headers.get("idempotency-key"), authorization, await request.json())
        with self._arrivals:
            self.calls.append(call)
            self._arrivals.notify_all()
        if mode == "unauthorized" or (self.api_key is not None and authorization != f"Bearer {self.api_key}"):
            return _envelope(401, "invalid_request_error", "invalid_api_key")
        if mode == "slow":
            await self._wait()
        response = self._respond(mode, call)
        call.finished = True
        return response

    async def _wait(self) -> None:
        waiting = asyncio.Event()
        self._waiting.append((asyncio.get_running_loop(), waiting))
        if self._released:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(waiting.wait(), self.latency)

    def _respond(self, mode: Mode, call: Call) -> Response:
        refusals: dict[str, Response] = {
            "rate_limited": _envelope(429, "requests", "rate_limit_exceeded", **{"Retry-After": self.retry_after}),
            "quota": _envelope(429, "insufficient_quota", "insufficient_quota"),
            "error": _envelope(500, "server_error", None),
            "unavailable": Response("<html>bad gateway</html>", 503, media_type="text/html"),
            "broken_json": Response('{"id": "chatcmpl-1", "choices": [', 200, media_type="application/json"),
            "nonsense": JSONResponse(["what", {"is": "this"}]),
        }
        if mode in refusals:
            return refusals[mode]
        if mode == "modern" and "max_tokens" in call.body:
            return _envelope(400, "invalid_request_error", "unsupported_parameter", "max_tokens")
        if not isinstance(call.body.get("messages"), list) or not call.body["messages"]:
            return _envelope(400, "invalid_request_error", None, "messages")
        answer = self._answer(mode, call.body)
        if mode in ("truncated", "drip"):
            return StreamingResponse(self._break_off(json.dumps(answer), mode), media_type="application/json")
        return JSONResponse(answer)

    async def _break_off(self, text: str, mode: Mode) -> AsyncIterator[str]:
        yield text[: len(text) // 2]
        while mode == "drip" and not self._released:
            await asyncio.sleep(0.02)
            yield " "
        raise ConnectionAbortedError("as told")

    def _answer(self, mode: Mode, body: dict[str, Any]) -> dict[str, Any]:
        messages = body["messages"]
        sources = sum(len(message["content"]) for message in messages if message["role"] == "system")
        text: str | None = f"You asked: {messages[-1]['content']} I was given {sources} characters to read."
        finish = {"filtered": "content_filter", "length": "length"}.get(mode, "stop")
        if finish != "stop":
            text = None
        read = sum(_tokens(message["content"]) for message in messages)
        written = _tokens(text or "")
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text, "refusal": None},
            "finish_reason": finish,
            "logprobs": None,
        }
        answer = {
            "id": f"chatcmpl-{len(self.calls)}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": f"{body.get('model')}{self.version}",
            "choices": [] if mode == "empty" else [choice],
            "usage": {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written},
        }
        if mode == "no_usage":
            del answer["usage"]
        return answer

    async def _models(self) -> dict[str, Any]:
        model = {"id": "fake-model", "object": "model", "created": 1_700_000_000, "owned_by": "nobody"}
        return {"object": "list", "data": [model]}

    async def _control(self, request: Request) -> dict[str, Any]:
        told = await request.json()
        self.mode = told.get("mode", self.mode)
        self.modes.extend(told.get("modes", ()))
        self.latency = told.get("latency", self.latency)
        if told.get("release"):
            self.release()
        return {"mode": self.mode}

    async def _read_calls(self) -> list[dict[str, Any]]:
        return [asdict(call) for call in self.calls]


def main() -> None:
    """Serves until it is told to end."""
    parser = argparse.ArgumentParser(description="A fake model vendor.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--mode", choices=MODES, default="ok")
    parser.add_argument("--latency", type=float, default=60.0)
    told = parser.parse_args()
    fake = FakeOpenAI(mode=told.mode, latency=told.latency, port=told.port)
    fake.start()
    sys.stdout.write(f"{fake.url}\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main()
