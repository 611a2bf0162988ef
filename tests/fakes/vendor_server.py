"""What fake model vendors share: modes of failing, calls that are recorded and can be held back, answers from the prompt.

A vendor derives from `FakeVendor` and says how its protocol writes an answer, a stream of events and an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from fakes.http_server import LoopbackServer
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, StreamingResponse

Mode = Literal[
    "ok",  # answers at once
    "slow",  # answers after `latency` seconds, or when `release()` is called
    "rate_limited",  # 429 with Retry-After
    "error",  # 500
    "unavailable",  # 503 with HTML
    "overloaded",  # the vendor's own way to say so
    "gateway_timeout",  # 504
    "unauthorized",  # 401
    "forbidden",  # 403
    "quota",  # no money left: waiting does not cure it
    "unknown_model",  # 404
    "refused",  # 400
    "unsupported",  # 400 for a setting that the model does not know
    "refused_content",  # its filter takes the prompt for bad
    "too_long",  # beyond the model's context
    "redirect",  # 307 to `elsewhere`
    "html",  # 200 with a page
    "error_body",  # 200 with an error in it
    "truncated",  # the body breaks off
    "broken_json",
    "empty",  # no choices
    "no_usage",
    "wrong_usage",  # numbers that are none
    "overrun",  # more than was allowed
    "filtered",  # withheld by its own filter, in the answer
    "length",  # used up before an answer
    "nonsense",  # JSON of another shape
    "drip",  # a byte now and then, for ever
    "paused",  # a stream that waits in the middle for `release()`
    "cut",  # a stream that ends in order, but in the middle
    "midway_error",  # a stream that says, in the middle, that it failed
    "early_error",  # and one that says so before it begins
    "modern",  # refuses `max_tokens`, as newer models do
]
MODES: tuple[str, ...] = get_args(Mode)
WORDS = "the vendor's words, perhaps with the prompt in them"


@dataclass
class Call:
    """One request as it arrived."""

    idempotency_key: str | None
    authorization: str | None
    body: dict[str, Any]
    at: float = field(default_factory=time.time)
    finished: bool = False
    ended_at: float | None = None
    path: str = ""
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    peer: int | None = None


@dataclass
class Reply:
    """What a vendor wants to say, before its protocol writes it down."""

    text: str | None
    finish: Literal["stop", "length", "filtered", "tools"] = "stop"
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    read: Any = 0
    written: Any = 0

    @property
    def pieces(self) -> list[str]:
        """The text in pieces that a stream brings, cut within words."""
        text = self.text or ""
        return [text[at : at + 9] for at in range(0, len(text), 9)]


def tokens(text: str) -> int:
    return len(text.split())


def example_of(schema: Mapping[str, Any]) -> Any:
    """A value that a JSON Schema allows, as far as the tests need."""
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            return {name: example_of(part) for name, part in schema.get("properties", {}).items()}
        case "array":
            return [example_of(schema.get("items", {}))]
        case "integer":
            return 1
        case "number":
            return 1.5
        case "boolean":
            return True
        case _:
            return "text"


def vector_of(text: str, dimensions: int | None) -> list[float]:
    """A vector that tells texts apart."""
    return [float((len(text) * (place + 1)) % 7 + 1) / 8 for place in range(dimensions or 4)]


class FakeVendor(LoopbackServer):
    """`modes` (a deque) are used up one a call, before `mode` holds. `by_key` counts calls per Idempotency-Key.

    `version` is what the answering model's name has beyond that of the model asked for, as vendors do.
    """

    def __init__(self, app: FastAPI, *, mode: Mode, latency: float, retry_after: str, api_key: str | None, port: int = 0) -> None:
        self.mode: Mode = mode
        self.modes: deque[Mode] = deque()
        self.latency = latency
        self.latencies: Iterator[float] | None = None
        """Where it is set, each slow call takes the next of these."""
        self.retry_after = retry_after
        self.api_key = api_key
        self.elsewhere = "http://127.0.0.1:1/"
        self.version = ""
        self.calls: list[Call] = []
        self._arrivals = threading.Condition()
        self._released = False
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        app.add_api_route("/control", self._control, methods=["POST"])
        app.add_api_route("/calls", self._read_calls, methods=["GET"])
        super().__init__(app, port)

    @property
    def by_key(self) -> Counter[str | None]:
        return Counter(call.idempotency_key for call in self.calls)

    def release(self) -> None:
        """Lets every slow call answer, now and from now on."""
        self._released = True
        for loop, waiting in self._waiting:
            loop.call_soon_threadsafe(waiting.set)

    def reset(self) -> None:
        """As it was in the beginning; calls that still wait are answered."""
        self.release()
        self.mode, self.version, self.retry_after, self._released = "ok", "", "1", False
        self.modes.clear()
        self.calls.clear()

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

    # What a vendor's protocol decides.

    def _allowed(self, request: Request) -> bool:
        """Whether the request carries the key, where one is set."""
        raise NotImplementedError

    def _refusal(self, mode: Mode) -> Response | None:
        """The vendor's error of this mode; None for a mode that is none."""
        raise NotImplementedError

    def _malformed(self, call: Call) -> Response | None:
        """The error of a request that the vendor cannot read; None for one it can."""
        raise NotImplementedError

    def _whole(self, mode: Mode, call: Call) -> Any:
        """The answer as one body."""
        raise NotImplementedError

    def _events(self, mode: Mode, call: Call) -> list[str] | None:
        """The answer as events, each with its blank line; None where no stream was asked for."""
        raise NotImplementedError

    def _error_event(self, call: Call) -> str:
        """The event that tells of a failure."""
        raise NotImplementedError

    # What every vendor does.

    async def _receive(self, request: Request) -> Response:
        mode = self.modes.popleft() if self.modes else self.mode
        if mode not in MODES:
            raise ValueError(f"there is no mode {mode}")
        headers = dict(request.headers)
        call = Call(
            headers.get("idempotency-key"),
            headers.get("authorization"),
            await request.json(),
            path=request.url.path,
            query=dict(request.query_params),
            headers=headers,
            peer=request.client.port if request.client else None,
        )
        with self._arrivals:
            self.calls.append(call)
            self._arrivals.notify_all()
        if not self._allowed(request):
            mode = "unauthorized"
        if mode == "slow":
            await self._wait()
        response = self._respond(mode, call)
        call.finished, call.ended_at = True, time.time()
        return response

    def _respond(self, mode: Mode, call: Call) -> Response:
        if mode == "unavailable":
            return HTMLResponse("<html>bad gateway</html>", 503)
        if mode == "html":
            return HTMLResponse("<html>Please log in.</html>")
        if mode == "redirect":
            return RedirectResponse(self.elsewhere, 307)
        refusal = self._refusal(mode) or self._malformed(call)
        if refusal is not None:
            return refusal
        events = self._events(mode, call)
        if events is None:
            return self._body(mode, call)
        return StreamingResponse(self._streamed(mode, call, events), media_type="text/event-stream")

    def _body(self, mode: Mode, call: Call) -> Response:
        if mode == "nonsense":
            return JSONResponse(["what", {"is": "this"}])
        text = json.dumps(self._whole(mode, call))
        if mode == "broken_json":
            return Response(text[: len(text) // 2], 200, media_type="application/json")
        if mode in ("truncated", "drip"):
            return StreamingResponse(self._dripped(mode, text[: len(text) // 2], " "), media_type="application/json")
        return Response(text, 200, media_type="application/json")

    async def _streamed(self, mode: Mode, call: Call, events: list[str]) -> AsyncIterator[str]:
        half = events[: max(2, len(events) // 2)]
        match mode:
            case "broken_json":
                yield from_half(events[0])
            case "nonsense":
                yield 'data: ["what", {"is": "this"}]\n\n'
            case "early_error":
                yield self._error_event(call)
            case "midway_error":
                yield "".join(half) + self._error_event(call)
            case "cut":
                yield "".join(half)
            case "truncated" | "drip":
                async for piece in self._dripped(mode, "".join(half), ": still here\n\n"):
                    yield piece
            case _:
                async for event in self._written(events, len(half) if mode == "paused" else None):
                    yield event

    async def _written(self, events: list[str], pause: int | None) -> AsyncIterator[str]:
        for number, event in enumerate(events):
            while number == pause and not self._released:
                await asyncio.sleep(0.02)
                yield ": still here\n\n"
            yield event
            # Each piece travels alone, as it does when a model writes it.
            await asyncio.sleep(0)

    async def _dripped(self, mode: Mode, text: str, drop: str) -> AsyncIterator[str]:
        yield text
        while mode == "drip" and not self._released:
            await asyncio.sleep(0.02)
            yield drop
        raise ConnectionAbortedError("as told")

    def _error(self, status: int, body: Any, **headers: str) -> JSONResponse:
        return JSONResponse(body, status, headers)

    async def _wait(self) -> None:
        waiting = asyncio.Event()
        self._waiting.append((asyncio.get_running_loop(), waiting))
        if self._released:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(waiting.wait(), self.latency if self.latencies is None else next(self.latencies))

    async def _control(self, request: Request) -> dict[str, Any]:
        told = await request.json()
        self.mode = told.get("mode", self.mode)
        self.modes.extend(told.get("modes", ()))
        self.latency = told.get("latency", self.latency)
        if "latencies" in told:
            self.latencies = itertools.cycle(told["latencies"])
        if told.get("release"):
            self.release()
        return {"mode": self.mode}

    async def _read_calls(self) -> list[dict[str, Any]]:
        return [asdict(call) for call in self.calls]


def from_half(event: str) -> str:
    """The event with half of its data."""
    head, _, data = event.partition("data: ")
    return f"{head}data: {data[: len(data) // 2]}\n\n"


def event_of(data: Any, name: str | None = None) -> str:
    """A server-sent event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {data if isinstance(data, str) else json.dumps(data)}\n\n"


@dataclass(frozen=True)
class Asked:
    """What a request asks for, in any vendor's protocol, and the reply of a vendor that does as it is told."""

    question: str
    read: int
    sources: int = 0
    images: int = 0
    tools: tuple[str, ...] = ()
    result: str | None = None
    schema: Mapping[str, Any] | None = None
    limit: int = 1024

    def reply(self, mode: Mode) -> Reply:
        """A tool's call where there are tools, JSON where a schema asks for it, else a sentence about the question."""
        reply = Reply(self._text())
        if self.tools and self.result is None:
            reply = Reply(None, "tools", [(tool, {"question": self.question}) for tool in self.tools])
        if mode in ("filtered", "length"):
            reply = Reply(None, "filtered" if mode == "filtered" else "length")
        reply.read, reply.written = self.read, tokens(reply.text or "") or (1 if reply.calls else 0)
        if mode == "overrun":
            reply.written = self.limit + 100
        if mode == "wrong_usage":
            reply.read, reply.written = -5, "many"
        return reply

    def _text(self) -> str:
        if self.result is not None:
            return f"The tool said: {self.result}"
        if self.schema is not None:
            return json.dumps(example_of(self.schema))
        seen = f" I saw {self.images} images." if self.images else ""
        return f"You asked: {self.question} I was given {self.sources} characters to read.{seen}"
