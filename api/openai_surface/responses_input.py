"""From OpenAI's body of POST /v1/responses to our input. Pure."""

from __future__ import annotations

from api.openai_surface.chat import Part, user_messages
from api.openai_surface.errors import located
from api.openai_surface.responses_models import (
    AnyObject,
    InputFunctionCall,
    InputFunctionOutput,
    InputImage,
    InputItem,
    InputMessage,
    InputRefusal,
    InputText,
    NamedTool,
    OfSchema,
    ResponseBody,
    TextOptions,
)
from api.openai_surface.shapes import image_of, joined
from api.slm_bodies import check_conversation, check_tools
from domain.models import ChatMessage, JsonSchemaFormat, ModelSettings, ToolCall, ToolDefinition
from domain.slm import ChatInput


def response_input(body: ResponseBody, default_tokens: int) -> ChatInput:
    """The input of a request. Raises InvalidRequest, with `param`, for what no model can go on with."""
    conversation = _Conversation(body.instructions)
    if isinstance(body.input, str):
        conversation.add(0, ChatMessage(role="user", content=body.input))
    else:
        for place, item in enumerate(body.input):
            conversation.take(place, item)
    messages = tuple(conversation.messages)
    tools = tuple(
        ToolDefinition(
            name=tool.name, description=tool.description or "", parameters=tool.parameters or {}, strict=bool(tool.strict)
        )
        for tool in body.tools or ()
    )
    choice = body.tool_choice.name if isinstance(body.tool_choice, NamedTool) else body.tool_choice or "auto"
    with located("input", conversation.places):
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
        format=_format(body.text),
        max_output_tokens=body.max_output_tokens or default_tokens,
    )


class _Conversation:
    """Messages in the making, and the place in `input` that each is from. A model's text and its calls are one message."""

    def __init__(self, instructions: str | None) -> None:
        self.messages: list[ChatMessage] = []
        self.places: list[int] = []
        if instructions:
            self.add(0, ChatMessage(role="system", content=instructions))

    def add(self, place: int, message: ChatMessage) -> None:
        self.messages.append(message)
        self.places.append(place)

    def take(self, place: int, item: InputItem) -> None:
        match item:
            case InputMessage():
                for message in _messages(item):
                    self.add(place, message)
            case InputFunctionCall():
                self._call(place, ToolCall(id=item.call_id, name=item.name, arguments=item.arguments))
            case InputFunctionOutput():
                output = item.output if isinstance(item.output, str) else joined(part.text for part in item.output)
                self.add(place, ChatMessage(role="tool", content=output, tool_call_id=item.call_id))
            case _:
                pass

    def _call(self, place: int, call: ToolCall) -> None:
        if self.messages and self.messages[-1].role == "assistant":
            last = self.messages[-1]
            self.messages[-1] = last.model_copy(update={"tool_calls": (*last.tool_calls, call)})
        else:
            self.add(place, ChatMessage(role="assistant", content="", tool_calls=(call,)))


def _messages(item: InputMessage) -> list[ChatMessage]:
    parts = (InputText(type="input_text", text=item.content),) if isinstance(item.content, str) else item.content
    if item.role == "user":
        return list(user_messages([_part(part) for part in parts]))
    images = tuple(image_of(part.image_url) for part in parts if isinstance(part, InputImage))
    text = joined(_part(part)[1] for part in parts if not isinstance(part, InputImage))
    return [ChatMessage(role="assistant" if item.role == "assistant" else "system", content=text, images=images)]


def _part(part: InputText | InputRefusal | InputImage) -> Part:
    match part:
        case InputText():
            return ("text", part.text)
        case InputRefusal():
            return ("text", part.refusal)
        case InputImage():
            return ("image", part.image_url)


def _settings(body: ResponseBody) -> ModelSettings:
    """Only what was sent: the rest is the role's profile's to say."""
    sent = {
        "temperature": body.temperature,
        "top_p": body.top_p,
        "presence_penalty": body.presence_penalty,
        "frequency_penalty": body.frequency_penalty,
    }
    return ModelSettings.model_validate({name: value for name, value in sent.items() if value is not None})


def _format(text: TextOptions | None) -> JsonSchemaFormat | None:
    match text.format if text else None:
        case AnyObject():
            return JsonSchemaFormat()
        case OfSchema() as schema:
            return JsonSchemaFormat(name=schema.name, schema=schema.schema_, strict=bool(schema.strict))
        case _:
            return None
