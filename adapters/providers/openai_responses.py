"""OpenAI's Responses API (POST {base}/responses), which vLLM, Ollama and LM Studio speak as well.

Nothing is kept at the vendor (`store` is false), so the whole conversation is sent each time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import urlsplit

from adapters.bounded_http import as_list, as_object, as_text
from adapters.providers.answers import (
    completion,
    count,
    instructions,
    parameters_of,
    storable,
    tool_call,
    unsupported,
    usage_of,
)
from adapters.providers.endpoint import Endpoint, base_url_of
from adapters.providers.failures import nonsense, refused_midway
from adapters.providers.openai_chat import embeddings_body, image_url, read_embeddings
from adapters.providers.openai_compatible import OPENAI
from domain.catalogue import ProviderConfig
from domain.models import (
    ChatMessage,
    Completion,
    CompletionRequest,
    Embedding,
    EmbeddingRequest,
    FinishReason,
    TextDelta,
    ToolCall,
)

_WHOLE: Final = frozenset(("response.completed", "response.incomplete"))
_FAILED: Final = frozenset(("response.failed", "error"))
_DELTAS: Final = frozenset(("response.output_text.delta", "response.refusal.delta"))


class OpenAIResponsesModel:
    """Implements `domain.ports.models.ModelProvider`. One instance serves concurrent calls; `close` ends its connections."""

    def __init__(self, name: str, config: ProviderConfig, api_key: str | None) -> None:
        """`config.base_url` goes up to and with `/v1`; OpenAI's own unless set. Raises ValueError when it is no http address."""
        base_url = base_url_of(name, config, OPENAI)
        self.name: Final = name
        self.external: Final = True
        self.vendor: Final = "openai" if urlsplit(base_url).hostname == "api.openai.com" else "openai_compatible"
        key = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._endpoint = Endpoint(name, base_url, config.timeout_seconds, key)

    async def close(self) -> None:
        """Ends its connections."""
        await self._endpoint.close()

    async def complete(self, model: str, request: CompletionRequest) -> Completion:
        """The whole answer. Raises what the port names, and UnsupportedByModel for what the protocol cannot express."""
        body = _body(model, request, stream=False)
        said = await self._endpoint.ask("/responses", body, {"Idempotency-Key": request.idempotency_key})
        if said.get("status") == "failed":
            raise nonsense(self.name, "HTTP 200 with an error")
        return self._read(model, request, said)

    async def stream(self, model: str, request: CompletionRequest) -> AsyncIterator[TextDelta | Completion]:
        """The answer as it is written, then the whole of it. Raises as `complete` does."""
        texts: list[str] = []
        events = self._endpoint.events(
            "/responses",
            _body(model, request, stream=True),
            {"Idempotency-Key": request.idempotency_key},
            last=lambda event: event.event in _WHOLE,
        )
        whole: Completion | None = None
        async with aclosing(events):
            async for event in events:
                # Every event is an object, so that a foreign stream is noticed.
                members = self._endpoint.object_of(event)
                if event.event in _FAILED or members.get("error"):
                    raise refused_midway(self.name, as_object(members.get("response")) or members, begun=bool(texts))
                if event.event in _WHOLE:
                    whole = self._read(model, request, as_object(members.get("response")))
                elif event.event in _DELTAS and (text := storable(as_text(members.get("delta")) or "")):
                    texts.append(text)
                    yield TextDelta(text=text)
        if whole is None:
            raise nonsense(self.name, "with a stream that has no end")
        rest = whole.text.removeprefix("".join(texts))
        if "".join(texts) + rest != whole.text:
            raise nonsense(self.name, "with another text than it had streamed")
        if rest:
            yield TextDelta(text=rest)
        yield whole

    async def embed(self, model: str, request: EmbeddingRequest) -> Embedding:
        """One vector a text. Raises as `complete` does."""
        headers = {"Idempotency-Key": request.idempotency_key}
        said = await self._endpoint.ask("/embeddings", embeddings_body(model, request), headers)
        return read_embeddings(self.name, model, request, said)

    def _read(self, model: str, request: CompletionRequest, body: dict[str, Any]) -> Completion:
        if not isinstance(body.get("output"), list):
            raise nonsense(self.name, "with something that is no response")
        texts: list[str] = []
        calls: list[ToolCall] = []
        for item in map(as_object, as_list(body.get("output"))):
            if item.get("type") == "function_call":
                calls.append(tool_call(self.name, item.get("name"), item.get("arguments"), item.get("call_id"), len(calls)))
            elif item.get("type") == "message":
                parts = map(as_object, as_list(item.get("content")))
                texts += [as_text(part.get("text")) or as_text(part.get("refusal")) or "" for part in parts]
        text, used = storable("".join(texts)), as_object(body.get("usage"))
        read, written = count(used.get("input_tokens")), count(used.get("output_tokens"))
        usage = usage_of(read, written, request, text, tuple(calls))
        answered = as_text(body.get("model")) or model
        return completion(self.name, text, answered, usage, _reason(body), tuple(calls))


def _reason(body: dict[str, Any]) -> FinishReason:
    match as_object(body.get("incomplete_details")).get("reason"):
        case "max_output_tokens":
            return FinishReason.LENGTH
        case "content_filter":
            return FinishReason.CONTENT_FILTER
        case _:
            return FinishReason.STOP


def _body(model: str, request: CompletionRequest, *, stream: bool) -> dict[str, Any]:
    """Raises UnsupportedByModel."""
    settings = request.settings
    refused = {"stop": settings.stop, "seed": settings.seed, "presence_penalty": settings.presence_penalty}
    for what, value in (refused | {"frequency_penalty": settings.frequency_penalty}).items():
        if value not in (None, ()):
            raise unsupported(what)
    body: dict[str, Any] = {
        "model": model,
        "input": [item for message in request.messages for item in _items(message)],
        "max_output_tokens": request.max_output_tokens,
        "store": False,
        "stream": stream,
        **settings.model_dump(include={"temperature", "top_p"}, exclude_none=True),
    }
    if told := instructions(request):
        body["instructions"] = told
    if request.tools:
        body |= _tools(request)
    if (wanted := request.format) is not None:
        named = {"type": "json_schema", "name": wanted.name, "schema": wanted.schema_, "strict": wanted.strict}
        body["text"] = {"format": named if wanted.schema_ is not None else {"type": "json_object"}}
    return body


def _items(message: ChatMessage) -> list[dict[str, Any]]:
    if message.role == "system":
        return []
    if message.role == "tool":
        if message.tool_call_id is None:
            raise unsupported("tool result that does not say which call it answers")
        return [{"type": "function_call_output", "call_id": message.tool_call_id, "output": message.content}]
    content: Any = message.content
    if message.images:
        content = [{"type": "input_text", "text": message.content}] if message.content else []
        content += [{"type": "input_image", "image_url": image_url(image), "detail": "auto"} for image in message.images]
    said = [{"role": message.role, "content": content}] if content or not message.tool_calls else []
    return said + [
        {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}
        for call in message.tool_calls
    ]


def _tools(request: CompletionRequest) -> dict[str, Any]:
    # Without `strict` this API takes a tool for a strict one.
    tools = [
        {
            "type": "function",
            "name": tool.name,
            "description": tool.description,
            "parameters": parameters_of(tool),
            "strict": tool.strict,
        }
        for tool in request.tools
    ]
    chosen = request.tool_choice
    return {
        "tools": tools,
        "tool_choice": chosen if chosen in ("auto", "none", "required") else {"type": "function", "name": chosen},
        "parallel_tool_calls": request.parallel_tool_calls,
    }
