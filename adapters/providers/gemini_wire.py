"""Gemini's contents as JSON: how a request is written, and how an answer is read, whole or chunk by chunk."""

from __future__ import annotations

import re
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
from domain.models import ChatMessage, Completion, CompletionRequest, FinishReason, ToolCall

_NO_SIGNATURE: Final = "skip_thought_signature_validator"
_FILTERED: Final = frozenset(
    (
        *("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "MODEL_ARMOR"),
        *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"),
    )
)
_FAILED: Final = frozenset(
    (
        *("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MISSING_THOUGHT_SIGNATURE"),
        *("MALFORMED_RESPONSE", "OTHER", "NO_IMAGE", "IMAGE_OTHER"),
    )
)
"""The model gave up: what it wrote so far is no answer."""
_UNSIGNED: Final = re.compile(r"(.*/)?gemini-[12]\b")
"""Models that ask for no signatures, and are not documented to know the value that stands for a missing one."""
_IMAGES: Final = frozenset(("image/png", "image/jpeg", "image/webp"))
_READ: Final = ("promptTokenCount", "toolUsePromptTokenCount")
_WRITTEN: Final = ("candidatesTokenCount", "thoughtsTokenCount")
_SETTINGS: Final = {
    "temperature": "temperature",
    "top_p": "topP",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}


def _parts(message: ChatMessage, names: dict[str, str], *, signed: bool) -> list[dict[str, Any]]:
    """The parts of a message; `names` are those of the tools called so far, by their call's id."""
    if message.role == "tool":
        name = names.get(message.tool_call_id or "")
        if name is None:
            raise unsupported("tool result that does not say which call it answers")
        response = {"id": message.tool_call_id, "name": name, "response": {"output": message.content}}
        return [{"functionResponse": response}]
    parts: list[dict[str, Any]] = [{"text": message.content}] if message.content else []
    for image in message.images:
        if image.media_type not in _IMAGES:
            raise unsupported(f"images of type {image.media_type}")
        parts.append({"inlineData": {"mimeType": image.media_type, "data": image.data}})
    for number, call in enumerate(message.tool_calls):
        names[call.id] = call.name
        part: dict[str, Any] = {"functionCall": {"id": call.id, "name": call.name, "args": arguments_of(call)}}
        # Of calls that were made together the first carries the signature.
        parts.append(part | {"thoughtSignature": _NO_SIGNATURE} if signed and not number else part)
    return parts


def _contents(model: str, request: CompletionRequest) -> list[dict[str, Any]]:
    """The conversation. Results of tools are the user's, and those of one turn stand in one content."""
    contents: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    before, signed = "", not _UNSIGNED.match(model)
    for message in request.messages:
        if message.role == "system" or not (parts := _parts(message, names, signed=signed)):
            continue
        if message.role == "tool" and before == "tool":
            contents[-1]["parts"] += parts
        else:
            contents.append({"role": "model" if message.role == "assistant" else "user", "parts": parts})
        before = message.role
    return contents


def _generation(request: CompletionRequest) -> dict[str, Any]:
    settings = request.settings.model_dump(exclude_none=True, exclude={"stop"})
    config: dict[str, Any] = {"maxOutputTokens": request.max_output_tokens}
    config |= {_SETTINGS[name]: value for name, value in settings.items()}
    if request.settings.stop:
        config["stopSequences"] = request.settings.stop
    if request.format is not None:
        config["responseMimeType"] = "application/json"
        if request.format.schema_ is not None:
            config["responseJsonSchema"] = request.format.schema_
    return config


def _tools(request: CompletionRequest) -> dict[str, Any]:
    declared = [
        {"name": tool.name, "description": tool.description, "parametersJsonSchema": parameters_of(tool)}
        for tool in request.tools
    ]
    # Validated calls keep to their schema, which is what other vendors call strict; calls that are required always do.
    auto = "VALIDATED" if any(tool.strict for tool in request.tools) else "AUTO"
    kinds = {"auto": auto, "required": "ANY", "none": "NONE"}
    calling: dict[str, Any] = {"mode": kinds.get(request.tool_choice, "ANY")}
    if request.tool_choice not in kinds:
        calling["allowedFunctionNames"] = [request.tool_choice]
    return {"tools": [{"functionDeclarations": declared}], "toolConfig": {"functionCallingConfig": calling}}


def content_body(model: str, request: CompletionRequest) -> dict[str, Any]:
    """The request. Raises UnsupportedByModel."""
    if request.tools and not request.parallel_tool_calls and request.tool_choice != "none":
        raise unsupported("limit of one tool call at a time")
    body: dict[str, Any] = {"contents": _contents(model, request), "generationConfig": _generation(request)}
    if told := instructions(request):
        body["systemInstruction"] = {"parts": [{"text": told}]}
    return body | (_tools(request) if request.tools else {})


@dataclass
class GeminiAnswer:
    """An answer as it comes in: one whole body, or chunk by chunk. `ended` once the model said why it ended."""

    provider: str
    asked: str
    request: CompletionRequest
    ended: bool = False
    begun: bool = False
    """Whether the model has begun to write; its thoughts count, since they are billed."""
    _texts: list[str] = field(default_factory=list[str])
    _calls: list[ToolCall] = field(default_factory=list[ToolCall])
    _model: str | None = None
    _usage: dict[str, Any] = field(default_factory=dict[str, Any])
    _reason: str = ""

    def add(self, body: dict[str, Any]) -> str:
        """Takes in a body or a chunk; returns the text that is new. Raises ModelStreamBroken for what is neither."""
        candidates, feedback = as_list(body.get("candidates")), as_object(body.get("promptFeedback"))
        used = as_object(body.get("usageMetadata"))
        if not candidates and not feedback and not used:
            raise nonsense(self.provider, "with something that is no content")
        self._model = as_text(body.get("modelVersion")) or self._model
        # Each chunk's numbers are totals.
        self._usage |= used
        if feedback.get("blockReason"):
            self.ended, self._reason = True, "SAFETY"
        candidate = as_object(next(iter(candidates), None))
        if reason := as_text(candidate.get("finishReason")):
            self.ended, self._reason = True, reason
        parts = as_list(as_object(candidate.get("content")).get("parts"))
        self.begun = self.begun or bool(parts)
        return "".join(self._part(as_object(part)) for part in parts)

    def _part(self, part: dict[str, Any]) -> str:
        if called := as_object(part.get("functionCall")):
            number = sum(len(message.tool_calls) for message in self.request.messages) + len(self._calls)
            self._calls.append(tool_call(self.provider, called.get("name"), called.get("args"), called.get("id"), number))
        # A thought is the model's reasoning, which is billed and no part of the answer.
        text = "" if part.get("thought") else storable(as_text(part.get("text")) or "")
        if text:
            self._texts.append(text)
        return text

    def completion(self) -> Completion:
        """The whole answer. Raises ModelStreamBroken where there is none, such as for a call that the model wrote wrongly."""
        if self._reason in _FAILED:
            raise nonsense(self.provider, "with something that its model could not finish")
        text, calls = "".join(self._texts), tuple(self._calls)
        usage = usage_of(self._read(), self._written(said=bool(text or calls)), self.request, text, calls)
        reason = FinishReason.CONTENT_FILTER if self._reason in _FILTERED else FinishReason.STOP
        if self._reason == "MAX_TOKENS":
            reason = FinishReason.LENGTH
        return completion(self.provider, text, self._model or self.asked, usage, reason, calls)

    def _read(self) -> int | None:
        return self._sum(_READ) if _READ[0] in self._usage else None

    def _written(self, *, said: bool) -> int | None:
        """Tokens of answer and thoughts. What is zero is left out, so a filtered prompt has no number for its answer."""
        read, written, total = self._read(), self._sum(_WRITTEN), count(self._usage.get("totalTokenCount", 0))
        if read is None or written is None or total is None or (said and _WRITTEN[0] not in self._usage):
            return None
        # The total is what is billed: thoughts that stand in no number of their own are in it.
        return max(written, total - read)

    def _sum(self, names: tuple[str, ...]) -> int | None:
        """The sum of these numbers, of which any may be absent; None where one is no count."""
        counts = [count(self._usage.get(name, 0)) for name in names]
        return None if None in counts else sum(number or 0 for number in counts)
