"""Anthropic's messages as JSON: how a request is written, and how an answer is read, whole or event by event."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from adapters.bounded_http import as_list, as_object, as_text
from adapters.providers.answers import (
    arguments_of,
    completion,
    count,
    instructions,
    parameters_of,
    storable,
    tool_call,
    unsupported,
    usage_of,
)
from adapters.providers.failures import nonsense
from domain.models import ChatMessage, Completion, CompletionRequest, FinishReason

_REASONS: Final = {
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "tool_use": FinishReason.TOOL_CALLS,
    "refusal": FinishReason.CONTENT_FILTER,
}
_READ: Final = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


def _blocks(message: ChatMessage) -> list[dict[str, Any]]:
    if message.role == "tool":
        if message.tool_call_id is None:
            raise unsupported("tool result that does not say which call it answers")
        return [{"type": "tool_result", "tool_use_id": message.tool_call_id, "content": message.content}]
    # An empty text block is refused.
    blocks: list[dict[str, Any]] = [{"type": "text", "text": message.content}] if message.content else []
    blocks += [
        {"type": "image", "source": {"type": "base64", "media_type": image.media_type, "data": image.data}}
        for image in message.images
    ]
    blocks += [{"type": "tool_use", "id": call.id, "name": call.name, "input": arguments_of(call)} for call in message.tool_calls]
    return blocks


def _messages(request: CompletionRequest) -> list[dict[str, Any]]:
    """The conversation. Results of tools are the user's, and those of one turn must stand in one message."""
    messages: list[dict[str, Any]] = []
    before = ""
    for message in request.messages:
        blocks = _blocks(message)
        if message.role == "system" or not blocks:
            continue
        if message.role == "tool" and before == "tool":
            messages[-1]["content"] += blocks
        else:
            messages.append({"role": "assistant" if message.role == "assistant" else "user", "content": blocks})
        before = message.role
    return messages


def _tools(request: CompletionRequest) -> dict[str, Any]:
    tools: list[dict[str, Any]] = []
    for tool in request.tools:
        written = {"name": tool.name, "description": tool.description, "input_schema": parameters_of(tool)}
        tools.append(written | ({"strict": True} if tool.strict else {}))
    kinds = {"auto": "auto", "required": "any", "none": "none"}
    kind = kinds.get(request.tool_choice, "tool")
    choice: dict[str, Any] = {"type": kind} | ({"name": request.tool_choice} if kind == "tool" else {})
    if not request.parallel_tool_calls and kind != "none":
        choice["disable_parallel_tool_use"] = True
    return {"tools": tools, "tool_choice": choice}


def _require_expressible(request: CompletionRequest, *, sampling: bool) -> None:
    settings = request.settings
    for what in ("seed", "presence_penalty", "frequency_penalty"):
        if getattr(settings, what) is not None:
            raise unsupported(what)
    if not sampling and (settings.temperature is not None or settings.top_p is not None):
        raise unsupported("temperature or top_p in this version of its API (api_version 2023-06-01 has them)")
    if request.format is not None and request.format.schema_ is None:
        raise unsupported("JSON output without a schema")


def message_body(model: str, request: CompletionRequest, *, stream: bool, sampling: bool) -> dict[str, Any]:
    """The request; `sampling`: the version of the API takes temperature and top_p. Raises UnsupportedByModel."""
    _require_expressible(request, sampling=sampling)
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": request.max_output_tokens,
        "messages": _messages(request),
        "stream": stream,
        **request.settings.model_dump(include={"temperature", "top_p"}, exclude_none=True),
    }
    if told := instructions(request):
        body["system"] = told
    if request.settings.stop:
        body["stop_sequences"] = request.settings.stop
    if request.tools:
        body |= _tools(request)
    if request.format is not None:
        body["output_config"] = {"format": {"type": "json_schema", "schema": request.format.schema_}}
    return body


@dataclass
class _Block:
    """`opened` is how it began; `written` are the pieces of a tool call's arguments."""

    opened: dict[str, Any]
    written: str = ""


@dataclass
class MessageAnswer:
    """An answer as it comes in: one whole body, or event by event."""

    provider: str
    asked: str
    request: CompletionRequest
    _blocks: dict[int, _Block] = field(default_factory=dict[int, _Block])
    _texts: list[str] = field(default_factory=list[str])
    _model: str | None = None
    _usage: dict[str, Any] = field(default_factory=dict[str, Any])
    _reason: str | None = None

    @property
    def begun(self) -> bool:
        """Whether anything has been said."""
        return bool(self._blocks)

    def whole(self, body: dict[str, Any]) -> None:
        """Takes in a whole message. Raises ModelStreamBroken for what is none."""
        if not isinstance(body.get("content"), list):
            raise nonsense(self.provider, "with something that is no message")
        self._start(body)
        for index, block in enumerate(map(as_object, as_list(body.get("content")))):
            self._open(index, block)

    def add(self, event: str, members: dict[str, Any]) -> str:
        """Takes in one event; returns the text that is new. Events of an unknown kind say nothing, as the vendor asks."""
        match event:
            case "message_start":
                self._start(as_object(members.get("message")))
            case "content_block_start":
                return self._open(_index(members), as_object(members.get("content_block")))
            case "content_block_delta":
                return self._continue(_index(members), as_object(members.get("delta")))
            case "message_delta":
                self._finish(as_object(members.get("delta")), as_object(members.get("usage")))
            case "message":
                # An event without a name is none of this protocol.
                raise nonsense(self.provider, "with a stream of another kind")
            case _:
                pass
        return ""

    def _start(self, message: dict[str, Any]) -> None:
        self._model = as_text(message.get("model"))
        self._finish(message, as_object(message.get("usage")))

    def _finish(self, message: dict[str, Any], usage: dict[str, Any]) -> None:
        self._reason = as_text(message.get("stop_reason")) or self._reason
        # Later numbers are totals, and what they leave out stays as it was.
        self._usage |= {name: number for name, number in usage.items() if number is not None}

    def _open(self, index: int, block: dict[str, Any]) -> str:
        self._blocks[index] = _Block(block)
        return self._say(block.get("text")) if block.get("type") == "text" else ""

    def _continue(self, index: int, delta: dict[str, Any]) -> str:
        block = self._blocks.get(index)
        if block is None:
            raise nonsense(self.provider, "with a piece of nothing")
        block.written += as_text(delta.get("partial_json")) or ""
        return self._say(delta.get("text")) if delta.get("type") == "text_delta" else ""

    def _say(self, text: Any) -> str:
        said = storable(as_text(text) or "")
        self._texts.append(said)
        return said

    def completion(self) -> Completion:
        """The whole answer. Raises ModelStreamBroken where there is none."""
        text = "".join(self._texts)
        used = [block for _, block in sorted(self._blocks.items()) if block.opened.get("type") == "tool_use"]
        calls = tuple(
            tool_call(
                self.provider,
                block.opened.get("name"),
                block.written or block.opened.get("input"),
                block.opened.get("id"),
                number,
            )
            for number, block in enumerate(used)
        )
        usage = usage_of(self._read(), count(self._usage.get("output_tokens")), self.request, text, calls)
        reason = _REASONS.get(self._reason or "", FinishReason.STOP)
        return completion(self.provider, text, self._model or self.asked, usage, reason, calls)

    def _read(self) -> int | None:
        """What was read in all: of the cache, into the cache and beside it. None where one of them is no count."""
        counts = [count(self._usage.get(name, 0)) for name in _READ]
        return None if "input_tokens" not in self._usage or None in counts else sum(number or 0 for number in counts)


def _index(members: dict[str, Any]) -> int:
    index = members.get("index")
    return index if type(index) is int else 0
