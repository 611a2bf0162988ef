"""A model vendor behind OpenAI's protocol, over a loopback socket: answers from the prompt, or misbehaves as told.

In a test: `async with FakeOpenAI() as fake: fake.url, fake.calls, fake.mode = "rate_limited"`. In a process of its own:
`PYTHONPATH=tests python -m fakes.openai_server --port 8099`, steered with
`POST /control {"mode": "slow", "latency": 5}` and read with `GET /calls`. The vendor's own client holds it to its word.
Azure's paths (`/openai/deployments/{name}/…`, `/openai/v1/…`) and the Responses API are served beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from fakes.openai_responses import error_event, response_events, response_of
from fakes.vendor_server import (
    MODES,
    WORDS,
    Asked,
    Call,
    FakeVendor,
    Mode,
    Reply,
    event_of,
    tokens,
    vector_of,
)
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

REFUSALS: dict[Mode, tuple[int, str, str | None, str | None]] = {
    "rate_limited": (429, "requests", "rate_limit_exceeded", None),
    "quota": (429, "insufficient_quota", "insufficient_quota", None),
    "error": (500, "server_error", None, None),
    "overloaded": (503, "server_error", "overloaded", None),
    "gateway_timeout": (504, "server_error", None, None),
    "unauthorized": (401, "invalid_request_error", "invalid_api_key", None),
    "forbidden": (403, "invalid_request_error", "unsupported_country_region_territory", None),
    "unknown_model": (404, "invalid_request_error", "model_not_found", None),
    "refused": (400, "invalid_request_error", None, "messages"),
    "unsupported": (400, "invalid_request_error", "unsupported_value", "temperature"),
    "refused_content": (400, "invalid_request_error", "content_filter", None),
    "too_long": (400, "invalid_request_error", "context_length_exceeded", "messages"),
    "error_body": (200, "server_error", None, None),
}

__all__ = ["MODES", "Call", "FakeOpenAI", "Mode"]


class FakeOpenAI(FakeVendor):
    """`url` is what MODEL_BASE_URL is set to, `azure_url` the address of an Azure resource; a key is taken in either's header."""

    def __init__(
        self, *, mode: Mode = "ok", latency: float = 60.0, retry_after: str = "1", api_key: str | None = None, port: int = 0
    ) -> None:
        self._says: str | None = None
        app = FastAPI()
        for root in ("/v1", "/openai/v1", "/openai/deployments/{deployment}"):
            app.add_api_route(f"{root}/chat/completions", self._receive, methods=["POST"])
            app.add_api_route(f"{root}/embeddings", self._receive, methods=["POST"])
            app.add_api_route(f"{root}/responses", self._receive, methods=["POST"])
        app.add_api_route("/v1/models", self._models, methods=["GET"])
        super().__init__(app, mode=mode, latency=latency, retry_after=retry_after, api_key=api_key, port=port)

    @contextlib.contextmanager
    def saying(self, text: str) -> Iterator[None]:
        """Within the block every chat completion says this, whatever is asked."""
        self._says = text
        try:
            yield
        finally:
            self._says = None

    @property
    def url(self) -> str:
        return f"{self.base}/v1"

    @property
    def azure_url(self) -> str:
        return self.base

    def _allowed(self, request: Request) -> bool:
        key = request.headers.get("api-key") or (request.headers.get("authorization") or "").removeprefix("Bearer ")
        return self.api_key is None or key == self.api_key

    def _envelope(self, status: int, kind: str, code: str | None, param: str | None = None, **headers: str) -> JSONResponse:
        return self._error(status, {"error": {"message": WORDS, "type": kind, "param": param, "code": code}}, **headers)

    def _refusal(self, mode: Mode) -> Response | None:
        if mode not in REFUSALS:
            return None
        headers = {"Retry-After": self.retry_after} if mode in ("rate_limited", "overloaded") else {}
        return self._envelope(*REFUSALS[mode], **headers)

    def _respond(self, mode: Mode, call: Call) -> Response:
        if mode == "modern" and "max_tokens" in call.body:
            return self._envelope(400, "invalid_request_error", "unsupported_parameter", "max_tokens")
        return super()._respond(mode, call)

    def _malformed(self, call: Call) -> Response | None:
        member = "messages" if call.path.endswith("/chat/completions") else "input"
        if not call.body.get(member):
            return self._envelope(400, "invalid_request_error", None, member)
        return None

    def _model(self, call: Call) -> str:
        named = call.body.get("model") or call.path.partition("/deployments/")[2].partition("/")[0]
        return f"{named}{self.version}"

    def _whole(self, mode: Mode, call: Call) -> Any:
        if call.path.endswith("/embeddings"):
            return _embeddings(mode, call.body, self._model(call))
        if call.path.endswith("/responses"):
            return response_of(mode, call.body, self._model(call))
        return self._completion(mode, call.body, self._model(call))

    def _events(self, mode: Mode, call: Call) -> list[str] | None:
        if not call.body.get("stream"):
            return None
        if call.path.endswith("/responses"):
            return response_events(mode, call.body, self._model(call))
        return self._chunks(mode, call.body, self._model(call))

    def _error_event(self, call: Call) -> str:
        if call.path.endswith("/responses"):
            return error_event(WORDS)
        return event_of({"error": {"message": WORDS, "type": "server_error", "param": None, "code": None}})

    def _reply(self, mode: Mode, body: dict[str, Any]) -> Reply:
        reply = _asked(body).reply(mode)
        return reply if self._says is None else replace(reply, text=self._says, written=tokens(self._says))

    def _completion(self, mode: Mode, body: dict[str, Any], model: str) -> dict[str, Any]:
        reply = self._reply(mode, body)
        message: dict[str, Any] = {"role": "assistant", "content": reply.text, "refusal": None}
        if reply.calls:
            message["tool_calls"] = [_call(number, *call) for number, call in enumerate(reply.calls)]
        choice = {"index": 0, "message": message, "finish_reason": _finish(reply), "logprobs": None}
        answer: dict[str, Any] = {
            "id": f"chatcmpl-{len(self.calls)}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": model,
            "choices": [] if mode == "empty" else [choice],
            "usage": _usage(reply),
        }
        if mode == "no_usage":
            del answer["usage"]
        return answer

    def _chunks(self, mode: Mode, body: dict[str, Any], model: str) -> list[str]:
        reply = self._reply(mode, body)
        head = {"id": f"chatcmpl-{len(self.calls)}", "object": "chat.completion.chunk", "created": int(time.time())}

        def chunk(delta: dict[str, Any], finish: str | None = None) -> str:
            choices = [{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}]
            return event_of({**head, "model": model, "choices": [] if mode == "empty" else choices})

        written = [chunk({"role": "assistant", "content": ""})]
        written += [chunk({"content": piece}) for piece in reply.pieces]
        for number, call in enumerate(reply.calls):
            whole = _call(number, *call)
            arguments = whole["function"]["arguments"]
            first = {**whole, "index": number, "function": {**whole["function"], "arguments": arguments[:5]}}
            written.append(chunk({"tool_calls": [first]}))
            written.append(chunk({"tool_calls": [{"index": number, "function": {"arguments": arguments[5:]}}]}))
        written.append(chunk({}, _finish(reply)))
        if mode != "no_usage" and (body.get("stream_options") or {}).get("include_usage"):
            written.append(event_of({**head, "model": model, "choices": [], "usage": _usage(reply)}))
        return [*written, event_of("[DONE]")]

    async def _models(self) -> dict[str, Any]:
        model = {"id": "fake-model", "object": "model", "created": 1_700_000_000, "owned_by": "nobody"}
        return {"object": "list", "data": [model]}


def _finish(reply: Reply) -> str:
    return {"filtered": "content_filter", "tools": "tool_calls"}.get(reply.finish, reply.finish)


def _usage(reply: Reply) -> dict[str, Any]:
    total = reply.read + reply.written if isinstance(reply.written, int) else 0
    return {"prompt_tokens": reply.read, "completion_tokens": reply.written, "total_tokens": total}


def _call(number: int, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    function = {"name": name, "arguments": JSONResponse(arguments).body.decode()}
    return {"id": f"call_{number}_{name}", "type": "function", "function": function}


def _text(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(part["text"] for part in content if part["type"] == "text")
    return content or ""


def _asked(body: dict[str, Any]) -> Asked:
    messages = body["messages"]
    tools = [tool["function"]["name"] for tool in body.get("tools", ())]
    choice = body.get("tool_choice", "auto")
    if isinstance(choice, dict):
        tools = [choice["function"]["name"]]
    if choice == "none":
        tools = []
    if body.get("parallel_tool_calls") is False:
        tools = tools[:1]
    wanted = body.get("response_format") or {}
    schema = {"type": "object", "properties": {"answer": {}}} if wanted.get("type") == "json_object" else None
    contents = [message.get("content") for message in messages]
    return Asked(
        question=_text(contents[-1]),
        read=sum(tokens(_text(content)) for content in contents),
        sources=sum(len(_text(message.get("content"))) for message in messages if message["role"] == "system"),
        images=sum(part["type"] == "image_url" for content in contents if isinstance(content, list) for part in content),
        tools=tuple(tools),
        result=_text(contents[-1]) if messages[-1]["role"] == "tool" else None,
        schema=wanted["json_schema"]["schema"] if wanted.get("type") == "json_schema" else schema,
        limit=body.get("max_completion_tokens") or body.get("max_tokens") or 1024,
    )


def _embeddings(mode: Mode, body: dict[str, Any], model: str) -> dict[str, Any]:
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    data = [
        {"object": "embedding", "index": place, "embedding": vector_of(text, body.get("dimensions"))}
        for place, text in enumerate(texts)
    ]
    read = sum(map(tokens, texts))
    usage: dict[str, Any] = {"prompt_tokens": "many" if mode == "wrong_usage" else read, "total_tokens": read}
    # In any order: the index counts.
    answer = {"object": "list", "data": [] if mode == "empty" else data[::-1], "model": model, "usage": usage}
    if mode == "no_usage":
        del answer["usage"]
    return answer


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
