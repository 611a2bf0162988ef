"""From a request as it reads to OpenAI's Response. Pure."""

from __future__ import annotations

from typing import Any, Literal

from api.openai_surface.answers import Provenance, answered_by, finish_of, provenance, public_id, text_of, withheld
from api.openai_surface.chat import tool_calls
from api.openai_surface.errors import envelope
from api.openai_surface.responses_models import NamedTool, OfSchema, ResponseBody
from domain.base import Contract, Count
from domain.errors import DomainError, TooManyRequests
from domain.models import FinishReason
from domain.slm import FINAL_SLM_STATUSES, SlmStatus, SlmView

ItemStatus = Literal["in_progress", "completed", "incomplete"]
_INCOMPLETE = {FinishReason.LENGTH: "max_output_tokens", FinishReason.CONTENT_FILTER: "content_filter"}


class OutputTextPart(Contract):
    """Text that the model wrote."""

    type: Literal["output_text"] = "output_text"
    text: str
    annotations: tuple[str, ...] = ()
    logprobs: tuple[str, ...] = ()


class OutputMessage(Contract):
    """What the model says."""

    type: Literal["message"] = "message"
    id: str
    status: ItemStatus
    role: Literal["assistant"] = "assistant"
    content: tuple[OutputTextPart, ...]


class OutputCall(Contract):
    """A function the model asks for."""

    type: Literal["function_call"] = "function_call"
    id: str
    status: ItemStatus
    call_id: str
    name: str
    arguments: str


OutputItem = OutputMessage | OutputCall


class CachedTokens(Contract):
    """Nobody tells us of these."""

    cached_tokens: Count = 0
    cache_write_tokens: Count = 0


class ReasoningTokens(Contract):
    """Nobody tells us of these."""

    reasoning_tokens: Count = 0


class ResponseUsage(Contract):
    """Tokens used."""

    input_tokens: Count
    input_tokens_details: CachedTokens = CachedTokens()
    output_tokens: Count
    output_tokens_details: ReasoningTokens = ReasoningTokens()
    total_tokens: Count


class Incomplete(Contract):
    """Why the answer is not whole."""

    reason: str


class ResponseFault(Contract):
    """Why there is no answer."""

    code: Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]
    message: str


class ResponseObject(Contract):
    """An answer, or what is there of it. `store` is false: it is not looked up by its id again."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    completed_at: int | None = None
    status: Literal["in_progress", "completed", "incomplete", "failed"]
    background: bool = False
    error: ResponseFault | None = None
    incomplete_details: Incomplete | None = None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: None = None
    model: str
    output: tuple[OutputItem, ...] = ()
    parallel_tool_calls: bool
    previous_response_id: None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    prompt_cache_key: None = None
    reasoning: dict[str, None] | None = None
    safety_identifier: None = None
    service_tier: Literal["default"] = "default"
    store: bool = False
    temperature: float | None
    text: dict[str, Any]
    tool_choice: dict[str, Any] | str
    tools: tuple[dict[str, Any], ...]
    top_logprobs: Count = 0
    top_p: float | None
    truncation: Literal["disabled"] = "disabled"
    usage: ResponseUsage | None = None
    metadata: dict[str, str]
    soma: Provenance


def response(view: SlmView, body: ResponseBody, output: tuple[OutputItem, ...] = ()) -> ResponseObject:
    """The Response of a request as it stands; `output` is what there is of it."""
    ended = view.status is SlmStatus.COMPLETED or withheld(view)
    incomplete = _INCOMPLETE.get(finish_of(view)) if ended else None
    used = view.usage
    return ResponseObject(
        id=public_id("resp_", view.request_id),
        created_at=int(view.created_at.timestamp()),
        completed_at=int(view.completed_at.timestamp()) if view.completed_at and view.status is SlmStatus.COMPLETED else None,
        status="incomplete" if incomplete else "completed" if ended else "in_progress",
        incomplete_details=Incomplete(reason=incomplete) if incomplete else None,
        instructions=body.instructions,
        max_output_tokens=body.max_output_tokens,
        model=answered_by(view, body.model),
        output=output,
        parallel_tool_calls=body.parallel_tool_calls is not False,
        presence_penalty=body.presence_penalty or 0.0,
        frequency_penalty=body.frequency_penalty or 0.0,
        temperature=body.temperature,
        text={"format": _format(body)},
        tool_choice=body.tool_choice.model_dump() if isinstance(body.tool_choice, NamedTool) else body.tool_choice or "auto",
        tools=tuple(tool.model_dump() for tool in body.tools or ()),
        top_p=body.top_p,
        usage=ResponseUsage(input_tokens=used.input_tokens, output_tokens=used.output_tokens, total_tokens=used.total)
        if view.status in FINAL_SLM_STATUSES
        else None,
        metadata=dict(body.metadata or {}),
        soma=provenance(view),
    )


def whole(view: SlmView, body: ResponseBody) -> ResponseObject:
    """The Response of a completed request, or of one whose answer was withheld."""
    text, calls = text_of(view), output_calls(view)
    said = () if withheld(view) or (calls and not text) else (output_message(view, text),)
    return response(view, body, (*said, *calls))


def failed(view: SlmView, body: ResponseBody, error: DomainError, output: tuple[OutputItem, ...]) -> ResponseObject:
    """The Response of a request that failed while it was streamed."""
    fault = ResponseFault(
        code="rate_limit_exceeded" if isinstance(error, TooManyRequests) else "server_error",
        message=envelope(error).error.message,
    )
    return response(view, body, output).model_copy(update={"status": "failed", "error": fault, "incomplete_details": None})


def output_message(view: SlmView, text: str) -> OutputMessage:
    """The message that says the text."""
    cut = finish_of(view) in _INCOMPLETE
    return OutputMessage(
        id=public_id("msg_", view.request_id),
        status="incomplete" if cut else "completed",
        content=(OutputTextPart(text=text),),
    )


def output_calls(view: SlmView) -> tuple[OutputCall, ...]:
    """The functions the answer asks for."""
    return tuple(
        OutputCall(
            id=f"{public_id('fc_', view.request_id)}_{index}",
            status="completed",
            call_id=call.id,
            name=call.function.name,
            arguments=call.function.arguments,
        )
        for index, call in enumerate(tool_calls(view))
    )


def _format(body: ResponseBody) -> dict[str, Any]:
    wanted = body.text.format if body.text else None
    if wanted is None:
        return {"type": "text"}
    return wanted.model_dump(by_alias=True, exclude={"description"} if isinstance(wanted, OfSchema) else None)
