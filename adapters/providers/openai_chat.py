"""OpenAI's chat completions and embeddings as JSON: how a request is written, and how an answer is read, whole or in pieces."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final

import pydantic_core

from adapters.bounded_http import as_list, as_object, as_text
from adapters.providers.answers import (
    completion,
    count,
    estimate,
    parameters_of,
    render_sources,
    storable,
    tool_call,
    unsupported,
    usage_of,
)
from adapters.providers.failures import nonsense
from domain.models import (
    ChatMessage,
    Completion,
    CompletionRequest,
    Embedding,
    EmbeddingRequest,
    FinishReason,
    ImagePart,
    JsonSchemaFormat,
)
from domain.sessions import Usage

DONE: Final = "[DONE]"
_REASONS: Final = {
    "length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
}


def image_url(image: ImagePart) -> str:
    """The image as an address that holds it."""
    return f"data:{image.media_type};base64,{image.data}"


def _content(message: ChatMessage) -> Any:
    if not message.images:
        return message.content
    parts: list[dict[str, Any]] = [{"type": "text", "text": message.content}] if message.content else []
    return parts + [{"type": "image_url", "image_url": {"url": image_url(image)}} for image in message.images]


def _message(message: ChatMessage) -> dict[str, Any]:
    written: dict[str, Any] = {"role": message.role, "content": _content(message)}
    if message.tool_calls:
        written["content"] = message.content or None
        written["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.role == "tool":
        if message.tool_call_id is None:
            raise unsupported("tool result that does not say which call it answers")
        written["tool_call_id"] = message.tool_call_id
    return written


def _format(wanted: JsonSchemaFormat) -> dict[str, Any]:
    if wanted.schema_ is None:
        return {"type": "json_object"}
    return {
        "type": "json_schema",
        "json_schema": {"name": wanted.name, "schema": wanted.schema_, "strict": wanted.strict},
    }


def _tools(request: CompletionRequest) -> dict[str, Any]:
    tools: list[dict[str, Any]] = []
    for tool in request.tools:
        function: dict[str, Any] = {"name": tool.name, "description": tool.description, "parameters": parameters_of(tool)}
        # Not every local server knows the member, so it is left out where it says nothing.
        tools.append({"type": "function", "function": function | ({"strict": True} if tool.strict else {})})
    chosen = request.tool_choice
    named = {"type": "function", "function": {"name": chosen}}
    written: dict[str, Any] = {"tools": tools, "tool_choice": chosen if chosen in ("auto", "none", "required") else named}
    return written if request.parallel_tool_calls else written | {"parallel_tool_calls": False}


def chat_body(model: str, request: CompletionRequest, limit: str, *, stream: bool) -> dict[str, Any]:
    """The request; `limit` names the member that bounds the answer. Raises UnsupportedByModel."""
    messages = [_message(message) for message in request.messages]
    if request.sources:
        messages.insert(0, {"role": "system", "content": render_sources(request.sources)})
    body: dict[str, Any] = {"model": model, "messages": messages, limit: request.max_output_tokens, "stream": stream}
    if stream:
        body["stream_options"] = {"include_usage": True}
    body |= request.settings.model_dump(exclude_none=True, exclude={"stop"})
    if request.settings.stop:
        body["stop"] = request.settings.stop
    if request.tools:
        body |= _tools(request)
    if request.format is not None:
        body["response_format"] = _format(request.format)
    return body


@dataclass
class _Call:
    call_id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass
class ChatAnswer:
    """An answer as it comes in: one whole body, or chunk by chunk. `ended` once the model said why it ended."""

    provider: str
    asked: str
    request: CompletionRequest
    ended: bool = False
    _texts: list[str] = field(default_factory=list[str])
    _calls: dict[int, _Call] = field(default_factory=dict[int, _Call])
    _model: str | None = None
    _usage: dict[str, Any] = field(default_factory=dict[str, Any])
    _reason: FinishReason = FinishReason.STOP

    @property
    def begun(self) -> bool:
        """Whether anything has been said."""
        return bool(self._texts or self._calls)

    def add(self, body: dict[str, Any]) -> str:
        """Takes in a body or a chunk; returns the text that is new. Raises ModelStreamBroken for what is neither."""
        choices = body.get("choices")
        if not isinstance(choices, list):
            raise nonsense(self.provider, "with something that is no chat completion")
        self._model = as_text(body.get("model")) or self._model
        self._usage = as_object(body.get("usage")) or self._usage
        choice = as_object(next(iter(as_list(choices)), None))
        reason = as_text(choice.get("finish_reason"))
        if reason:
            self.ended, self._reason = True, _REASONS.get(reason, FinishReason.STOP)
        said = as_object(choice.get("message")) or as_object(choice.get("delta"))
        for position, call in enumerate(as_list(said.get("tool_calls"))):
            self._add_call(position, as_object(call))
        text = storable(_text(said))
        if text:
            self._texts.append(text)
        return text

    def _add_call(self, position: int, piece: dict[str, Any]) -> None:
        index, call_id = piece.get("index"), as_text(piece.get("id"))
        if type(index) is not int:
            # A chunk without an index goes on with the last call, unless it brings an id of its own.
            index = len(self._calls) if call_id or not self._calls else max(self._calls)
            index = max(index, position)
        call = self._calls.setdefault(index, _Call())
        function = as_object(piece.get("function"))
        call.call_id = call.call_id or call_id or ""
        call.name = call.name or as_text(function.get("name")) or ""
        call.arguments += _arguments(function.get("arguments"))

    def completion(self) -> Completion:
        """The whole answer. Raises ModelStreamBroken where there is none."""
        text = "".join(self._texts)
        calls = tuple(
            tool_call(self.provider, call.name, call.arguments, call.call_id, index)
            for index, call in sorted(self._calls.items())
        )
        read, written = count(self._usage.get("prompt_tokens")), count(self._usage.get("completion_tokens"))
        usage = usage_of(read, written, self.request, text, calls)
        return completion(self.provider, text, self._model or self.asked, usage, self._reason, calls)


def _arguments(value: Any) -> str:
    """JSON text as it is; an object, as some servers send, as JSON text."""
    return value if isinstance(value, str) else pydantic_core.to_json(value).decode() if isinstance(value, dict) else ""


def _text(message: dict[str, Any]) -> str:
    """A string, or the text parts of a list; a refusal is an answer too."""
    content = message.get("content")
    parts = "".join(as_text(as_object(part).get("text")) or "" for part in as_list(content))
    return as_text(content) or parts or as_text(message.get("refusal")) or ""


def embeddings_body(model: str, request: EmbeddingRequest) -> dict[str, Any]:
    """The request for vectors as plain numbers."""
    body: dict[str, Any] = {"model": model, "input": request.texts, "encoding_format": "float"}
    return body | ({"dimensions": request.dimensions} if request.dimensions else {})


def read_embeddings(provider: str, model: str, request: EmbeddingRequest, body: dict[str, Any]) -> Embedding:
    """The vectors in the order of the texts. Raises ModelStreamBroken."""
    items = [as_object(item) for item in as_list(body.get("data"))]
    places = [item.get("index", place) for place, item in enumerate(items)]
    if sorted(place for place in places if type(place) is int) != list(range(len(request.texts))):
        raise nonsense(provider, "with more or fewer vectors than there were texts")
    ordered = sorted(zip(places, items, strict=True), key=lambda pair: pair[0])
    return embedding_of(
        provider,
        storable(as_text(body.get("model")) or model)[:200],
        request,
        [item.get("embedding") for _, item in ordered],
        count(as_object(body.get("usage")).get("prompt_tokens")),
    )


def embedding_of(provider: str, model: str, request: EmbeddingRequest, vectors: list[Any], read: int | None) -> Embedding:
    """The vectors, checked: as many as texts, equally long, finite. Raises ModelStreamBroken."""
    checked = tuple(_vector(vector) for vector in vectors)
    if len(checked) != len(request.texts) or len({len(vector) for vector in checked}) != 1 or not checked[0]:
        raise nonsense(provider, "with vectors that are none")
    usage = Usage(input_tokens=read) if read else Usage(input_tokens=estimate(request.texts), estimated=True)
    return Embedding(vectors=checked, model=model, usage=usage)


def _vector(numbers: Any) -> tuple[float, ...]:
    """The numbers; none where one of them is no finite number."""
    vector = as_list(numbers)
    if not all(type(number) in (int, float) and math.isfinite(number) for number in vector):
        return ()
    return tuple(float(number) for number in vector)
