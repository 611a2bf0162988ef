"""The body of POST /v1/chat/completions, as OpenAI's clients send it.

A member is understood, ignored by name, or refused with the reason; one that is none of these is refused as unknown, since
nobody can say what it would have changed.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from api.edge_types import CleanText
from api.openai_surface.shapes import (
    CallId,
    Echoed,
    Flag,
    Ignored,
    ModelName,
    Number,
    Refusing,
    ToolName,
    Whole,
    checked_image_url,
)
from domain.base import Contract


class TextPart(Contract):
    """Text among other parts of a message."""

    type: Literal["text"]
    text: CleanText


class RefusalPart(Echoed):
    """What a model said when it refused."""

    type: Literal["refusal"]
    refusal: CleanText


class ImageUrl(Contract):
    """An image by value."""

    url: Annotated[str, AfterValidator(checked_image_url)] = Field(description="`data:image/png;base64,…`")
    detail: Ignored = None


class ImageUrlPart(Contract):
    """An image among other parts of a message."""

    type: Literal["image_url"]
    image_url: ImageUrl


Texts = CleanText | Annotated[tuple[TextPart, ...], Field(min_length=1)]
UserPart = Annotated[TextPart | ImageUrlPart, Field(discriminator="type")]
AssistantPart = Annotated[TextPart | RefusalPart, Field(discriminator="type")]


class SystemMessage(Contract):
    """What the application tells the model."""

    role: Literal["system", "developer"]
    content: Texts
    name: Ignored = None


class UserMessage(Contract):
    """What the user says and shows."""

    role: Literal["user"]
    content: CleanText | Annotated[tuple[UserPart, ...], Field(min_length=1)]
    name: Ignored = None


class FunctionCall(Echoed):
    """The function a tool call names; `arguments` is the JSON text the model wrote."""

    name: ToolName
    arguments: CleanText


class MessageToolCall(Echoed):
    """A tool call of an assistant."""

    id: CallId
    type: Literal["function"] = "function"
    function: FunctionCall


class AssistantMessage(Echoed):
    """What the model answered before, as it was answered."""

    role: Literal["assistant"]
    content: CleanText | tuple[AssistantPart, ...] | None = None
    refusal: CleanText | None = None
    tool_calls: tuple[MessageToolCall, ...] | None = None
    audio: Annotated[None, Refusing("Audio is not supported; send text")] = None
    function_call: Annotated[None, Refusing("Function calls are not supported; send tool_calls")] = None


class ToolMessage(Contract):
    """What a tool answered."""

    role: Literal["tool"]
    content: Texts
    tool_call_id: CallId
    name: Ignored = None


Message = Annotated[SystemMessage | UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")]


class FunctionDefinition(Contract):
    """A function; `parameters` is a JSON Schema of an object."""

    name: ToolName
    description: CleanText | None = None
    parameters: dict[str, Any] | None = None
    strict: Flag | None = None


class FunctionTool(Contract):
    """A tool the model may ask for."""

    type: Literal["function"]
    function: FunctionDefinition


class FunctionName(Contract):
    """The one function to call."""

    name: ToolName


class NamedToolChoice(Contract):
    """Makes the model call one tool."""

    type: Literal["function"]
    function: FunctionName


class TextFormat(Contract):
    """Any text."""

    type: Literal["text"]


class JsonObjectFormat(Contract):
    """Any JSON object."""

    type: Literal["json_object"]


class NamedSchema(Contract):
    """A JSON Schema."""

    name: ToolName
    description: Ignored = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: Flag | None = None


class JsonSchemaResponseFormat(Contract):
    """JSON of a schema."""

    type: Literal["json_schema"]
    json_schema: NamedSchema


ResponseFormat = Annotated[TextFormat | JsonObjectFormat | JsonSchemaResponseFormat, Field(discriminator="type")]


class StreamOptions(Contract):
    """What a stream holds beside the answer."""

    include_usage: Flag | None = None
    include_obfuscation: Ignored = None


class ChatCompletionBody(Contract):
    """A conversation to go on with."""

    model: ModelName
    messages: tuple[Message, ...] = Field(
        min_length=1, max_length=2000, examples=[[{"role": "user", "content": "Which port does the gateway listen on?"}]]
    )
    max_completion_tokens: Annotated[Whole, Field(ge=1, le=1_000_000)] | None = None
    max_tokens: Annotated[Whole, Field(ge=1, le=1_000_000)] | None = Field(default=None, description="The older name.")
    temperature: Annotated[Number, Field(ge=0, le=2)] | None = None
    top_p: Annotated[Number, Field(gt=0, le=1)] | None = None
    presence_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = None
    seed: Annotated[Whole, Field(ge=-(2**53) + 1, le=2**53 - 1)] | None = None
    stop: CleanText | Annotated[tuple[CleanText, ...], Field(max_length=4)] | None = None
    tools: tuple[FunctionTool, ...] | None = Field(default=None, max_length=128)
    tool_choice: Literal["auto", "none", "required"] | NamedToolChoice | None = None
    parallel_tool_calls: Flag | None = None
    response_format: ResponseFormat | None = None
    stream: Flag | None = None
    stream_options: StreamOptions | None = None
    cancel_on_disconnect: Flag = Field(default=False, description="Ours: stop the call when the client goes away.")

    n: Annotated[None, Refusing("Only n=1 is served; send a request for each answer", 1)] = None
    logprobs: Annotated[None, Refusing("Log probabilities are not served", False)] = None
    top_logprobs: Annotated[None, Refusing("Log probabilities are not served", 0)] = None
    logit_bias: Annotated[None, Refusing("Biases on tokens are not served", {})] = None
    audio: Annotated[None, Refusing("Audio is not served; ask for text")] = None
    modalities: Annotated[None, Refusing("Only text is served", ["text"])] = None
    functions: Annotated[None, Refusing("Send tools instead of functions", [])] = None
    function_call: Annotated[None, Refusing("Send tool_choice instead of function_call")] = None
    web_search_options: Annotated[None, Refusing("Web search is not served; offer a tool for it")] = None

    user: Ignored = None
    metadata: Ignored = None
    store: Ignored = None
    service_tier: Ignored = None
    safety_identifier: Ignored = None
    prompt_cache_key: Ignored = None
    prompt_cache_retention: Ignored = None
    prompt_cache_options: Ignored = None
    prediction: Ignored = None
    reasoning_effort: Ignored = None
    verbosity: Ignored = None
