"""A model vendor with OpenAI's protocol that always takes the same time: `python -m benchmarks.model_server PORT SECONDS`.

It answers after that time. Where it streams, its first sentence comes then and the rest after as much again. A word is a token,
and it writes a tenth of what it reads. `GET /seen` says what it answered, by the first word of the prompt.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from runtime.admin import serve
from workers.processes import run, stop_event

MODEL: Final = "steady"
_FIRST: Final = "The first valve is the one to begin with. "


class ModelServer:
    """What it answers, and what it has answered so far."""

    def __init__(self, seconds: float) -> None:
        """`seconds` pass before every answer."""
        self._seconds = seconds
        self._seen: dict[str, dict[str, int]] = {}
        self.app = Starlette(
            routes=[
                Route("/v1/chat/completions", self._complete, methods=["POST"]),
                Route("/seen", self._read),
                Route("/healthz", self._read),
            ]
        )

    async def _read(self, _request: Request) -> Response:
        return JSONResponse(self._seen)

    async def _complete(self, request: Request) -> Response:
        due = time.monotonic() + self._seconds
        asked = await request.json()
        usage = self._count(asked["messages"][-1]["content"].split())
        rest = " ".join(["word"] * usage["completion_tokens"]) + "."
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        if asked.get("stream"):
            return StreamingResponse(self._events(asked, rest, usage), media_type="text/event-stream")
        message = {"role": "assistant", "content": _FIRST + rest, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        return JSONResponse({**_frame("chat.completion", asked, choice), "usage": usage})

    def _count(self, words: list[str]) -> dict[str, int]:
        read, written = len(words), max(1, len(words) // 10)
        seen = self._seen.setdefault(words[0], {"calls": 0, "tokens": 0})
        seen["calls"] += 1
        seen["tokens"] += read + written
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}

    async def _events(self, asked: dict[str, Any], rest: str, usage: dict[str, int]) -> AsyncIterator[str]:
        def piece(finish: str | None = None, **delta: str) -> str:
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            return _event(_frame("chat.completion.chunk", asked, choice))

        yield piece(role="assistant", content=_FIRST)
        await asyncio.sleep(self._seconds)
        yield piece(content=rest)
        yield piece("stop")
        yield _event({**_frame("chat.completion.chunk", asked), "usage": usage})
        yield "data: [DONE]\n\n"


def _frame(kind: str, asked: dict[str, Any], *choices: dict[str, Any]) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": int(time.time()), "model": asked["model"], "choices": choices}


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data)}\n\n"


async def _serve(port: int, seconds: float) -> None:
    stop = stop_event()
    async with serve(ModelServer(seconds).app, "127.0.0.1", port):
        await stop.wait()


if __name__ == "__main__":
    run(_serve(int(sys.argv[1]), float(sys.argv[2])))
