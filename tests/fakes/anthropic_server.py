"""Anthropic's Messages API over a loopback socket: answers from the prompt, or misbehaves as told.

Its own client holds it to its word. `async with FakeAnthropic() as fake: fake.url, fake.calls, fake.mode = "overloaded"`.
It is as strict as the vendor where adapters go wrong: the version's header, `max_tokens`, sampling in the new version, results
of tools right after their calls.
"""

from __future__ import annotations

import json
from typing import Any

from fakes.vendor_server import WORDS, Asked, Call, FakeVendor, Mode, Reply, event_of, tokens
from fastapi import FastAPI, Request, Response

REFUSALS: dict[Mode, tuple[int, str, str]] = {
    "rate_limited": (429, "rate_limit_error", WORDS),
    "quota": (402, "billing_error", WORDS),
    "error": (500, "api_error", WORDS),
    "overloaded": (529, "overloaded_error", WORDS),
    "gateway_timeout": (504, "timeout_error", WORDS),
    "unauthorized": (401, "authentication_error", WORDS),
    "forbidden": (403, "permission_error", WORDS),
    "unknown_model": (404, "not_found_error", WORDS),
    "refused": (400, "invalid_request_error", WORDS),
    "refused_content": (400, "invalid_request_error", f"Output blocked by content filtering policy ({WORDS})"),
    "too_long": (400, "invalid_request_error", f"prompt is too long: 208310 tokens > 200000 maximum ({WORDS})"),
    "error_body": (200, "api_error", WORDS),
}
STOPS = {"stop": "end_turn", "length": "max_tokens", "filtered": "refusal", "tools": "tool_use"}


class FakeAnthropic(FakeVendor):
    """`url` is the base address, without `/v1`."""

    def __init__(
        self, *, mode: Mode = "ok", latency: float = 60.0, retry_after: str = "1", api_key: str | None = None, port: int = 0
    ) -> None:
        app = FastAPI()
        app.add_api_route("/v1/messages", self._receive, methods=["POST"])
        super().__init__(app, mode=mode, latency=latency, retry_after=retry_after, api_key=api_key, port=port)

    @property
    def url(self) -> str:
        return self.base

    def _allowed(self, request: Request) -> bool:
        bearer = (request.headers.get("authorization") or "").removeprefix("Bearer ")
        return self.api_key is None or (request.headers.get("x-api-key") or bearer) == self.api_key

    def _envelope(self, status: int, kind: str, words: str, **headers: str) -> Response:
        body = {"type": "error", "error": {"type": kind, "message": words}, "request_id": "req_1"}
        return self._error(status, body, **headers)

    def _refusal(self, mode: Mode) -> Response | None:
        if mode not in REFUSALS:
            return None
        headers = {"Retry-After": self.retry_after} if mode in ("rate_limited", "overloaded") else {}
        return self._envelope(*REFUSALS[mode], **headers)

    def _malformed(self, call: Call) -> Response | None:
        wrong = _wrong(call)
        return self._envelope(400, "invalid_request_error", f"{wrong}: {WORDS}") if wrong else None

    def _whole(self, mode: Mode, call: Call) -> Any:
        reply = _asked(call.body).reply(mode)
        message = _message(call.body, reply, self.version)
        message["content"] = [] if mode == "empty" else _blocks(reply)
        message |= {"stop_reason": STOPS[reply.finish], "usage": _usage(reply)}
        if mode == "no_usage":
            del message["usage"]
        return message

    def _events(self, mode: Mode, call: Call) -> list[str] | None:
        if not call.body.get("stream"):
            return None
        reply = _asked(call.body).reply(mode)
        message = _message(call.body, reply, self.version)
        written = [] if mode == "empty" else _block_events(reply)
        events: list[dict[str, Any]] = [{"type": "message_start", "message": message}, {"type": "ping"}, *written]
        end: dict[str, Any] = {"type": "message_delta", "delta": {"stop_reason": STOPS[reply.finish], "stop_sequence": None}}
        end["usage"] = {"output_tokens": reply.written}
        if mode == "no_usage":
            del end["usage"], message["usage"]
        return [event_of(event, event["type"]) for event in (*events, end, {"type": "message_stop"})]

    def _error_event(self, call: Call) -> str:
        del call  # Always the same.
        return event_of({"type": "error", "error": {"type": "overloaded_error", "message": WORDS}}, "error")


def _wrong(call: Call) -> str | None:
    """What the vendor would refuse in this request, in its own terms."""
    body, version = call.body, call.headers.get("anthropic-version")
    if version not in ("2023-06-01", "2026-10-21"):
        return "anthropic-version: header is required"
    if not isinstance(body.get("max_tokens"), int):
        return "max_tokens: Field required"
    if version != "2023-06-01" and body.keys() & {"temperature", "top_p", "top_k"}:
        return "temperature: Extra inputs are not permitted"
    if body.keys() & {"seed", "presence_penalty", "frequency_penalty"}:
        return "seed: Extra inputs are not permitted"
    if not body.get("messages"):
        return "messages: at least one message is required"
    open_calls: set[str] = set()
    for message in body["messages"]:
        blocks = [{"type": "text", "text": message["content"]}] if isinstance(message["content"], str) else message["content"]
        if any(block["type"] == "text" and not block["text"] for block in blocks):
            return "messages: text content blocks must be non-empty"
        answered = {block["tool_use_id"] for block in blocks if block["type"] == "tool_result"}
        if answered != open_calls:
            return "messages: tool_use ids were found without tool_result blocks immediately after"
        open_calls = {block["id"] for block in blocks if block["type"] == "tool_use"}
    return "messages: tool_use ids were found without tool_result blocks immediately after" if open_calls else None


def _message(body: dict[str, Any], reply: Reply, version: str) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": f"{body['model']}{version}",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**_usage(reply), "output_tokens": 1 if isinstance(reply.written, int) else reply.written},
    }


def _usage(reply: Reply) -> dict[str, Any]:
    """The prompt's tokens, one of them from the cache, since the vendor counts them apart."""
    cached = 1 if isinstance(reply.read, int) and reply.read > 1 else 0
    return {
        "input_tokens": reply.read - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": reply.written,
    }


def _blocks(reply: Reply) -> list[dict[str, Any]]:
    thought = [{"type": "thinking", "thinking": "Let me see.", "signature": "c2ln"}]
    said = [{"type": "text", "text": reply.text, "citations": None}] if reply.text else []
    return thought + said + [_used(number, *call) for number, call in enumerate(reply.calls)]


def _used(number: int, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{number}_{name}", "name": name, "input": arguments}


def _block_events(reply: Reply) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    for index, block in enumerate(_blocks(reply)):
        match block["type"]:
            case "thinking":
                opened, deltas = {**block, "thinking": ""}, [{"type": "thinking_delta", "thinking": block["thinking"]}]
            case "text":
                opened = {**block, "text": ""}
                deltas = [{"type": "text_delta", "text": piece} for piece in reply.pieces]
            case _:
                text = json.dumps(block["input"])
                opened = {**block, "input": {}}
                deltas = [{"type": "input_json_delta", "partial_json": part} for part in ("", text[:5], text[5:])]
        events.append({"type": "content_block_start", "index": index, "content_block": opened})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    return events


def _content(blocks: Any, kind: str) -> list[dict[str, Any]]:
    return [] if isinstance(blocks, str) else [block for block in blocks if block["type"] == kind]


def _text(content: Any) -> str:
    return content if isinstance(content, str) else " ".join(block["text"] for block in _content(content, "text"))


def _asked(body: dict[str, Any]) -> Asked:
    contents = [message["content"] for message in body["messages"]]
    choice = body.get("tool_choice") or {"type": "auto"}
    tools = [tool["name"] for tool in body.get("tools", ())]
    if choice["type"] == "tool":
        tools = [choice["name"]]
    if choice["type"] == "none":
        tools = []
    if choice.get("disable_parallel_tool_use"):
        tools = tools[:1]
    results = _content(contents[-1], "tool_result")
    wanted = (body.get("output_config") or {}).get("format")
    system = body.get("system") or ""
    return Asked(
        question=_text(contents[-1]),
        read=sum(tokens(_text(content)) for content in contents) + tokens(system),
        sources=len(system),
        images=sum(len(_content(content, "image")) for content in contents),
        tools=tuple(tools),
        result=" and ".join(result["content"] for result in results) if results else None,
        schema=wanted["schema"] if wanted else None,
        limit=body["max_tokens"],
    )
