"""Chat completions: from OpenAI's body to our input, and from a request as it reads to OpenAI's answer. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from api.openai_surface.answers import Provenance, answered_by, finish_of, provenance, public_id, text_of, withheld
from api.openai_surface.chat_models import (
    AssistantMessage,
    ChatCompletionBody,
    JsonObjectFormat,
    JsonSchemaResponseFormat,
    Message,
    NamedToolChoice,
    RefusalPart,
    ResponseFormat,
    SystemMessage,
    TextPart,
    Texts,
    ToolMessage,
    UserMessage,
)
from api.openai_surface.errors import located, refused
from api.openai_surface.shapes import image_of, joined
from api.slm_bodies import check_conversation, check_tools
from domain.base import Contract, Count
from domain.models import ChatMessage, FinishReason, ImagePart, JsonSchemaFormat, ModelSettings, ToolCall, ToolDefinition
from domain.slm import ChatInput, SlmView

Part = tuple[Literal["text", "image"], str]
"""A text, or an image as a `data:` URL."""


class FunctionOut(Contract):
    """The function of a tool call."""

    name: str
    arguments: str


class ToolCallOut(Contract):
    """A tool call."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionOut


class MessageOut(Contract):
    """What the model answered."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    annotations: tuple[str, ...] = ()
    tool_calls: tuple[ToolCallOut, ...] | None = None


class Choice(Contract):
    """The one answer."""

    index: Literal[0] = 0
    message: MessageOut
    logprobs: None = None
    finish_reason: FinishReason


class ChatUsage(Contract):
    """Tokens used, as the provider counted them, or an estimate where it did not."""

    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count


class ChatCompletion(Contract):
    """An answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: tuple[Choice, ...]
    usage: ChatUsage
    system_fingerprint: None = None
    soma: Provenance


def chat_input(body: ChatCompletionBody, default_tokens: int) -> ChatInput:
    """The input of a request. Raises InvalidRequest, with `param`, for what no model can go on with."""
    if body.stream_options is not None and not body.stream:
        raise refused("stream_options is only for a request with stream=true.", "stream_options")
    made = [(ours, place) for place, message in enumerate(body.messages) for ours in _messages(message)]
    messages = tuple(ours for ours, _ in made)
    tools = tuple(
        ToolDefinition(
            name=tool.function.name,
            description=tool.function.description or "",
            parameters=tool.function.parameters or {},
            strict=bool(tool.function.strict),
        )
        for tool in body.tools or ()
    )
    choice = body.tool_choice.function.name if isinstance(body.tool_choice, NamedToolChoice) else body.tool_choice or "auto"
    with located("messages", [place for _, place in made]):
        check_conversation(messages)
    with located("tools"):
        check_tools(tools, "auto")
    with located("tool_choice"):
        check_tools(tools, choice)
    return ChatInput(
        messages=messages,
        settings=_settings(body),
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=body.parallel_tool_calls is not False,
        format=_format(body.response_format),
        max_output_tokens=_limit(body) or default_tokens,
    )


def completion(view: SlmView, asked: str) -> ChatCompletion:
    """The answer of a completed request, or of one whose answer was withheld: that one has no content."""
    calls = tool_calls(view)
    text = text_of(view)
    message = MessageOut(content=text if text or not (calls or withheld(view)) else None, tool_calls=calls or None)
    return ChatCompletion(
        id=public_id("chatcmpl-", view.request_id),
        created=int(view.created_at.timestamp()),
        model=answered_by(view, asked),
        choices=(Choice(message=message, finish_reason=finish_of(view)),),
        usage=chat_usage(view),
        soma=provenance(view),
    )


def tool_calls(view: SlmView) -> tuple[ToolCallOut, ...]:
    """The tool calls of the answer."""
    if view.message is None or withheld(view):
        return ()
    calls = view.message.tool_calls
    return tuple(ToolCallOut(id=call.id, function=FunctionOut(name=call.name, arguments=call.arguments)) for call in calls)


def chat_usage(view: SlmView) -> ChatUsage:
    """What was used."""
    used = view.usage
    return ChatUsage(prompt_tokens=used.input_tokens, completion_tokens=used.output_tokens, total_tokens=used.total)


def _messages(message: Message) -> Iterator[ChatMessage]:
    """A message as one of ours; a user's that shows images between texts as several, so that the order stays."""
    match message:
        case SystemMessage():
            yield ChatMessage(role="system", content=_text(message.content))
        case ToolMessage():
            yield ChatMessage(role="tool", content=_text(message.content), tool_call_id=message.tool_call_id)
        case AssistantMessage():
            yield _assistant(message)
        case UserMessage():
            yield from user_messages(_parts(message))


def _parts(message: UserMessage) -> list[Part]:
    if isinstance(message.content, str):
        return [("text", message.content)]
    return [("text", part.text) if isinstance(part, TextPart) else ("image", part.image_url.url) for part in message.content]


def user_messages(parts: list[Part]) -> list[ChatMessage]:
    """A user's parts in order. Ours show their images after their text, so a text after an image begins another message."""
    made: list[tuple[list[str], list[ImagePart]]] = [([], [])]
    for kind, content in parts:
        if kind == "text" and made[-1][1]:
            made.append(([], []))
        if kind == "text":
            made[-1][0].append(content)
        else:
            made[-1][1].append(image_of(content))
    return [ChatMessage(role="user", content=joined(texts), images=tuple(images)) for texts, images in made]


def _assistant(message: AssistantMessage) -> ChatMessage:
    match message.content:
        case None:
            content = message.refusal or ""
        case str():
            content = message.content
        case parts:
            content = joined(part.refusal if isinstance(part, RefusalPart) else part.text for part in parts)
    calls = tuple(
        ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments) for call in message.tool_calls or ()
    )
    return ChatMessage(role="assistant", content=content, tool_calls=calls)


def _text(content: Texts) -> str:
    return content if isinstance(content, str) else joined(part.text for part in content)


def _settings(body: ChatCompletionBody) -> ModelSettings:
    """Only what was sent: the rest is the role's profile's to say."""
    stop = (body.stop,) if isinstance(body.stop, str) else body.stop
    sent = {
        "temperature": body.temperature,
        "top_p": body.top_p,
        "stop": stop or None,
        "seed": body.seed,
        "presence_penalty": body.presence_penalty,
        "frequency_penalty": body.frequency_penalty,
    }
    return ModelSettings.model_validate({name: value for name, value in sent.items() if value is not None})


def _limit(body: ChatCompletionBody) -> int | None:
    old, new = body.max_tokens, body.max_completion_tokens
    if old is not None and new is not None and old != new:
        raise refused("max_tokens and max_completion_tokens differ; send the latter alone.", "max_tokens")
    return old if new is None else new


def _format(wanted: ResponseFormat | None) -> JsonSchemaFormat | None:
    match wanted:
        case JsonObjectFormat():
            return JsonSchemaFormat()
        case JsonSchemaResponseFormat(json_schema=schema):
            return JsonSchemaFormat(name=schema.name, schema=schema.schema_ or {}, strict=bool(schema.strict))
        case _:
            return None
