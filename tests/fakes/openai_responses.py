"""OpenAI's Responses API, for the fake vendor: a response as one object, and as the events that build it."""

from __future__ import annotations

import json
import time
from typing import Any

from fakes.vendor_server import Asked, Mode, Reply, event_of, tokens


def response_of(mode: Mode, body: dict[str, Any], model: str) -> dict[str, Any]:
    """The whole response."""
    reply = _asked(body).reply(mode)
    return _response(mode, body, model, reply, [] if mode == "empty" else _items(reply))


def response_events(mode: Mode, body: dict[str, Any], model: str) -> list[str]:
    """The same as events."""
    reply = _asked(body).reply(mode)
    items = [] if mode == "empty" else _items(reply)
    running = _response(mode, body, model, reply, []) | {"status": "in_progress", "usage": None, "incomplete_details": None}
    events: list[dict[str, Any]] = [{"type": "response.created", "response": running}]
    for index, item in enumerate(items):
        events += _item_events(index, item, reply)
    final = _response(mode, body, model, reply, items)
    events.append({"type": f"response.{final['status']}", "response": final})
    return [event_of({**event, "sequence_number": number}, event["type"]) for number, event in enumerate(events)]


def error_event(words: str) -> str:
    """The event that ends a response with an error."""
    event = {"type": "error", "code": "server_error", "message": words, "param": None, "sequence_number": 99}
    return event_of(event, "error")


def _item_events(index: int, item: dict[str, Any], reply: Reply) -> list[dict[str, Any]]:
    place = {"item_id": item["id"], "output_index": index}
    if item["type"] == "function_call":
        return [
            {"type": "response.output_item.added", "output_index": index, "item": {**item, "arguments": ""}},
            {"type": "response.function_call_arguments.delta", **place, "delta": item["arguments"]},
            {
                "type": "response.function_call_arguments.done",
                **place,
                "name": item["name"],
                "arguments": item["arguments"],
            },
            {"type": "response.output_item.done", "output_index": index, "item": item},
        ]
    part = {**place, "content_index": 0}
    empty = {"type": "output_text", "text": "", "annotations": []}
    return [
        {"type": "response.output_item.added", "output_index": index, "item": {**item, "content": []}},
        {"type": "response.content_part.added", **part, "part": empty},
        *({"type": "response.output_text.delta", **part, "delta": piece, "logprobs": []} for piece in reply.pieces),
        {"type": "response.output_text.done", **part, "text": reply.text, "logprobs": []},
        {"type": "response.content_part.done", **part, "part": {**empty, "text": reply.text}},
        {"type": "response.output_item.done", "output_index": index, "item": item},
    ]


def _items(reply: Reply) -> list[dict[str, Any]]:
    calls = [
        {
            "id": f"fc_{number}",
            "type": "function_call",
            "call_id": f"call_{number}_{name}",
            "name": name,
            "arguments": json.dumps(arguments),
            "status": "completed",
        }
        for number, (name, arguments) in enumerate(reply.calls)
    ]
    reasoning = {"id": "rs_0", "type": "reasoning", "summary": []}
    if reply.text is None:
        return [reasoning, *calls] if calls else [reasoning]
    content = [{"type": "output_text", "text": reply.text, "annotations": []}]
    return [{"id": "msg_0", "type": "message", "role": "assistant", "status": "completed", "content": content}, *calls]


def _response(mode: Mode, body: dict[str, Any], model: str, reply: Reply, items: list[dict[str, Any]]) -> dict[str, Any]:
    incomplete = {"length": "max_output_tokens", "filtered": "content_filter"}.get(reply.finish)
    total = reply.read + reply.written if isinstance(reply.written, int) else 0
    usage = {
        "input_tokens": reply.read,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": reply.written,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": total,
    }
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": int(time.time()),
        "status": "incomplete" if incomplete else "completed",
        "error": None,
        "incomplete_details": {"reason": incomplete} if incomplete else None,
        "instructions": body.get("instructions"),
        "model": model,
        "output": items,
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools", []),
        "metadata": {},
        "temperature": body.get("temperature"),
        "top_p": body.get("top_p"),
        "usage": None if mode == "no_usage" else usage,
    }


def _text(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(part["text"] for part in content if part["type"] in ("input_text", "output_text"))
    return content or ""


def _asked(body: dict[str, Any]) -> Asked:
    given = body["input"]
    items: list[dict[str, Any]] = [{"role": "user", "content": given}] if isinstance(given, str) else given
    last = items[-1]
    choice = body.get("tool_choice", "auto")
    tools = [tool["name"] for tool in body.get("tools", ())]
    if isinstance(choice, dict):
        tools = [choice["name"]]
    if choice == "none":
        tools = []
    if body.get("parallel_tool_calls") is False:
        tools = tools[:1]
    wanted = (body.get("text") or {}).get("format") or {}
    schema = {"type": "object", "properties": {"answer": {}}} if wanted.get("type") == "json_object" else None
    contents = [item.get("content") for item in items]
    return Asked(
        question=_text(last.get("content")),
        read=sum(tokens(_text(content)) for content in contents) + tokens(body.get("instructions") or ""),
        sources=len(body.get("instructions") or ""),
        images=sum(part["type"] == "input_image" for content in contents if isinstance(content, list) for part in content),
        tools=tuple(tools),
        result=last["output"] if last.get("type") == "function_call_output" else None,
        schema=wanted["schema"] if wanted.get("type") == "json_schema" else schema,
        limit=body.get("max_output_tokens") or 1024,
    )
