"""A chat completion as a stream of chunks: what was written so far, then what only the whole answer says. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from api.openai_surface.answers import answered_by, finish_of, provenance, public_id
from api.openai_surface.chat import chat_usage, tool_calls
from api.openai_surface.errors import envelope
from domain.errors import DomainError
from domain.slm import SlmView

DONE: Final = b"data: [DONE]\n\n"


def sse(data: dict[str, Any], event: str | None = None) -> bytes:
    """One server-sent event."""
    name = f"event: {event}\n" if event else ""
    return f"{name}data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


class ChatStream:
    """Makes the chunks of one answer. `asked` is the model's name as it was asked for."""

    def __init__(self, view: SlmView, asked: str, *, include_usage: bool) -> None:
        """`view` is the request as it was recorded."""
        self._asked = asked
        self._include_usage = include_usage
        self._head: dict[str, Any] = {
            "id": public_id("chatcmpl-", view.request_id),
            "object": "chat.completion.chunk",
            "created": int(view.created_at.timestamp()),
        }

    def begin(self) -> Iterator[bytes]:
        """Says that an assistant speaks."""
        yield self._choice({"role": "assistant", "content": "", "refusal": None})

    def text(self, text: str) -> Iterator[bytes]:
        """More of the answer."""
        yield self._choice({"content": text})

    def end(self, view: SlmView, rest: str) -> Iterator[bytes]:
        """What was not sent of the text, the tool calls, why it ended, the usage where it was asked for, and the end."""
        if rest:
            yield from self.text(rest)
        for index, call in enumerate(tool_calls(view)):
            yield self._choice({"tool_calls": [{"index": index, **call.model_dump()}]})
        model = answered_by(view, self._asked)
        ours = provenance(view).model_dump()
        yield self._choice({}, finish_of(view).value, model=model, soma=ours)
        if self._include_usage:
            yield sse(self._head | {"model": model, "choices": [], "usage": chat_usage(view).model_dump(), "soma": ours})
        yield DONE

    def fail(self, error: DomainError) -> Iterator[bytes]:
        """Ends a stream whose head is sent already. OpenAI's clients raise what an `error` chunk tells."""
        yield sse(envelope(error).model_dump())
        yield DONE

    def _choice(self, delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        usage = {"usage": None} if self._include_usage else {}
        return sse(self._head | {"model": self._asked, "choices": [choice]} | usage | more)
