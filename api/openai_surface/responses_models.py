"""The body of POST /v1/responses, as OpenAI's clients and those of Open Responses send it.

As with chat completions a member is understood, ignored by name, or refused with the reason.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, Field
from pydantic.types import Discriminator, Tag

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


class InputText(Echoed):
    """Text of a message; `output_text` is a model's own, sent back."""

    type: Literal["input_text", "output_text", "text"]
    text: CleanText


class InputRefusal(Echoed):
    """What a model said when it refused."""

    type: Literal["refusal"]
    refusal: CleanText


class InputImage(Contract):
    """An image by value."""

    type: Literal["input_image"]
    image_url: Annotated[str, AfterValidator(checked_image_url)] = Field(description="`data:image/png;base64,…`")
    detail: Ignored = None
    file_id: Annotated[None, Refusing("Files are not kept; send the image as a data: URL")] = None


InputPart = Annotated[InputText | InputRefusal | InputImage, Field(discriminator="type")]


class InputMessage(Echoed):
    """A message, of whomever."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: CleanText | tuple[InputPart, ...]


class InputFunctionCall(Echoed):
    """A call the model asked for before."""

    type: Literal["function_call"]
    call_id: CallId
    name: ToolName
    arguments: CleanText


class OutputText(Contract):
    """Text of a tool's answer."""

    type: Literal["input_text"]
    text: CleanText


class InputFunctionOutput(Echoed):
    """What a tool answered."""

    type: Literal["function_call_output"]
    call_id: CallId
    output: CleanText | tuple[OutputText, ...]


class InputReasoning(Echoed):
    """Another model's thoughts, sent back with its answer: left out, since no other model can use them."""

    type: Literal["reasoning"]


def _kind(item: Any) -> str | None:
    """A message may leave its type out."""
    if not isinstance(item, dict):
        return getattr(item, "type", None)
    kind = cast("dict[str, Any]", item).get("type", "message")
    return kind if isinstance(kind, str) else None


InputItem = Annotated[
    Annotated[InputMessage, Tag("message")]
    | Annotated[InputFunctionCall, Tag("function_call")]
    | Annotated[InputFunctionOutput, Tag("function_call_output")]
    | Annotated[InputReasoning, Tag("reasoning")],
    Discriminator(_kind),
]


class ResponseTool(Contract):
    """A function the model may ask for."""

    type: Literal["function"]
    name: ToolName
    description: CleanText | None = None
    parameters: dict[str, Any] | None = None
    strict: Flag | None = None


class NamedTool(Contract):
    """Makes the model call one function."""

    type: Literal["function"]
    name: ToolName


class PlainText(Contract):
    """Any text."""

    type: Literal["text"]


class AnyObject(Contract):
    """Any JSON object."""

    type: Literal["json_object"]


class OfSchema(Contract):
    """JSON of a schema."""

    type: Literal["json_schema"]
    name: ToolName = "answer"
    schema_: dict[str, Any] = Field(alias="schema")
    description: Ignored = None
    strict: Flag | None = None


class TextOptions(Contract):
    """What the text is to be."""

    format: Annotated[PlainText | AnyObject | OfSchema, Field(discriminator="type")] | None = None
    verbosity: Ignored = None


class ResponseStreamOptions(Contract):
    """Nothing of a stream can be chosen."""

    include_obfuscation: Ignored = None


class ResponseBody(Contract):
    """A conversation to go on with. The whole of it is in `input`: nothing is looked up by an earlier answer's id."""

    model: ModelName
    input: Annotated[CleanText, Field(min_length=1)] | Annotated[tuple[InputItem, ...], Field(min_length=1, max_length=2000)]
    instructions: CleanText | None = None
    max_output_tokens: Annotated[Whole, Field(ge=1, le=1_000_000)] | None = None
    temperature: Annotated[Number, Field(ge=0, le=2)] | None = None
    top_p: Annotated[Number, Field(gt=0, le=1)] | None = None
    presence_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = None
    tools: tuple[ResponseTool, ...] | None = Field(default=None, max_length=128)
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    parallel_tool_calls: Flag | None = None
    text: TextOptions | None = None
    stream: Flag | None = None
    stream_options: ResponseStreamOptions | None = None
    metadata: dict[Annotated[str, Field(max_length=64)], Annotated[CleanText, Field(max_length=512)]] | None = Field(
        default=None, max_length=16, description="Given back as it came."
    )
    cancel_on_disconnect: Flag = Field(default=False, description="Ours: stop the call when the client goes away.")

    previous_response_id: Annotated[None, Refusing("Answers are not looked up by id; send the whole conversation in input")] = (
        None
    )
    conversation: Annotated[None, Refusing("Conversations are not kept; send the whole conversation in input")] = None
    prompt: Annotated[None, Refusing("Prompts are not kept; send instructions and input")] = None
    background: Annotated[None, Refusing("Nothing runs in the background here; POST /v1/slm/requests queues", False)] = None
    truncation: Annotated[None, Refusing("Input is never truncated; send less of it", "disabled")] = None
    max_tool_calls: Annotated[None, Refusing("Tools are called by the caller, who counts")] = None
    top_logprobs: Annotated[None, Refusing("Log probabilities are not served", 0)] = None
    include: Annotated[
        None,
        Refusing("Only reasoning.encrypted_content may be included, and is ignored", [], ["reasoning.encrypted_content"]),
    ] = None

    store: Ignored = None
    user: Ignored = None
    service_tier: Ignored = None
    safety_identifier: Ignored = None
    prompt_cache_key: Ignored = None
    prompt_cache_retention: Ignored = None
    prompt_cache_options: Ignored = None
    reasoning: Ignored = None
