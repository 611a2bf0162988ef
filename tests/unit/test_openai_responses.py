"""Responses in OpenAI's words: the vendor's own types read what we write, and we read what its clients send."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response as TheirResponse
from openai.types.responses import ResponseStreamEvent
from openai_views import answers, calls, clean, running, view
from pydantic import TypeAdapter, ValidationError

from api.openai_surface.chat_stream import DONE
from api.openai_surface.responses import whole
from api.openai_surface.responses_input import response_input
from api.openai_surface.responses_models import ResponseBody
from api.openai_surface.responses_stream import ResponseStream
from domain.errors import InvalidRequest, ModelRateLimited, TooManyRequests
from domain.models import ChatMessage, ImagePart, JsonSchemaFormat, ToolCall
from domain.slm import SlmStatus, SlmView

EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
PIXEL = "iVBORw0KGgo="
TOOL = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": True}


def body(**sent: Any) -> ResponseBody:
    return ResponseBody.model_validate({"model": "m", "input": "Good morning."} | sent)


def read(**sent: Any) -> Any:
    return response_input(body(**sent), 100)


def items(message: ChatMessage) -> list[dict[str, Any]]:
    """A message as OpenAI's clients send it, with the members that an earlier answer had."""
    match message.role:
        case "tool":
            return [{"type": "function_call_output", "call_id": message.tool_call_id, "output": message.content}]
        case "assistant":
            content = [{"type": "output_text", "text": message.content, "annotations": [], "logprobs": []}]
            said = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": content}
            called = [
                {
                    "type": "function_call",
                    "id": "fc_1",
                    "status": "completed",
                    "call_id": call.id,
                    "name": call.name,
                    "arguments": call.arguments,
                }
                for call in message.tool_calls
            ]
            return [said, *called] if message.content else called
        case role:
            return [{"role": role, "content": message.content}]


@st.composite
def conversations(draw: st.DrawFn) -> list[ChatMessage]:
    """Conversations a model can go on with."""
    made: list[ChatMessage] = []
    for _ in range(draw(st.integers(0, 3))):
        made.append(ChatMessage(role=draw(st.sampled_from(["user", "system"])), content=draw(clean.filter(bool))))
        called = draw(st.lists(calls, max_size=2, unique_by=lambda call: call.id))
        said = draw(clean if called else clean.filter(bool))
        made.append(ChatMessage(role="assistant", content=said, tool_calls=tuple(called)))
        made += [ChatMessage(role="tool", content=draw(clean), tool_call_id=call.id) for call in called]
    return [*made, ChatMessage(role="user", content=draw(clean.filter(bool)))]


@given(conversations())
def test_what_a_client_sends_is_what_the_model_is_asked(conversation: list[ChatMessage]) -> None:
    sent = [item for message in conversation for item in items(message)]
    assert list(read(input=sent).messages) == conversation


def test_everything_that_is_understood_arrives() -> None:
    asked = read(
        instructions="Be brief.",
        temperature=0.5,
        top_p=1,
        max_output_tokens=7,
        tools=[TOOL],
        tool_choice={"type": "function", "name": "look"},
        parallel_tool_calls=False,
        text={"format": {"type": "json_schema", "name": "city", "schema": {"type": "object"}, "strict": True}},
    )
    assert [(message.role, message.content) for message in asked.messages] == [
        ("system", "Be brief."),
        ("user", "Good morning."),
    ]
    assert asked.settings.model_dump(exclude_unset=True) == {"temperature": 0.5, "top_p": 1}
    assert (asked.max_output_tokens, asked.tool_choice, asked.parallel_tool_calls) == (7, "look", False)
    assert asked.tools[0].strict
    assert asked.format == JsonSchemaFormat(name="city", schema={"type": "object"}, strict=True)
    assert read(text={"format": {"type": "json_object"}, "verbosity": "low"}).format == JsonSchemaFormat()
    assert read(text={"format": {"type": "text"}}).format is None
    assert read().max_output_tokens == 100


def test_images_reasoning_and_outputs_in_parts() -> None:
    url = f"data:image/jpeg;base64,{PIXEL}"
    asked = read(
        input=[
            {"role": "user", "content": [{"type": "input_text", "text": "This?"}, {"type": "input_image", "image_url": url}]},
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "…"},
            {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "A cat."}]},
        ]
    )
    assert asked.messages == (
        ChatMessage(role="user", content="This?", images=(ImagePart(media_type="image/jpeg", data=PIXEL),)),
        ChatMessage(role="assistant", content="", tool_calls=(ToolCall(id="c", name="look", arguments="{}"),)),
        ChatMessage(role="tool", content="A cat.", tool_call_id="c"),
    )


HARMLESS = {
    "store": True,
    "user": "u",
    "service_tier": "auto",
    "safety_identifier": "s",
    "prompt_cache_key": "k",
    "reasoning": {"effort": "low", "summary": "auto"},
    "include": ["reasoning.encrypted_content"],
    "truncation": "disabled",
    "background": False,
    "top_logprobs": 0,
    "previous_response_id": None,
    "stream_options": {"include_obfuscation": False},
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_changes_nothing_is_accepted(name: str) -> None:
    assert read(**{name: HARMLESS[name]}) == read()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("previous_response_id", "resp_1"),
        ("conversation", "conv_1"),
        ("prompt", {"id": "p"}),
        ("background", True),
        ("truncation", "auto"),
        ("max_tool_calls", 3),
        ("top_logprobs", 5),
        ("include", ["message.output_text.logprobs"]),
        ("moderation", {"model": "m"}),
        ("tools", [{"type": "web_search"}]),
        ("tools", [{"type": "mcp", "server_label": "s"}]),
        ("tool_choice", {"type": "file_search"}),
        ("input", []),
        ("input", ""),
        ("input", [{"type": "item_reference", "id": "msg_1"}]),
        ("input", [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]),
        ("input", [{"role": "user", "content": [{"type": "input_image", "image_url": "https://example.com/a.png"}]}]),
        ("input", [{"type": ["message"], "role": "user", "content": "x"}]),
        ("input", ["x"]),
    ],
)
def test_what_would_change_the_answer_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        read(**{name: value})
    assert caught.value.errors()[0]["loc"][0] == name


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({"input": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, "input"),
        ({"input": [{"role": "user", "content": ""}]}, "input[0]"),
        ({"instructions": "x", "input": [{"type": "function_call_output", "call_id": "c", "output": "1"}]}, "input[0]"),
        ({"tools": [TOOL, TOOL]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
    ],
)
def test_what_no_model_can_go_on_with_is_refused_by_its_place(sent: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(**sent)
    assert caught.value.members["param"] == param


@given(answers())
def test_the_vendors_types_read_our_answer(answer: SlmView) -> None:
    sent = body(tools=[TOOL], metadata={"a": "b"}, instructions="Be brief.")
    theirs = TheirResponse.model_validate(whole(answer, sent).model_dump(mode="json"))
    assert (theirs.model, theirs.metadata, theirs.instructions) == ("acme/large", {"a": "b"}, "Be brief.")
    assert theirs.output_text == (answer.text or "")
    called = [item for item in theirs.output if item.type == "function_call"]
    expected = answer.message.tool_calls if answer.message else ()
    assert [ToolCall(id=call.call_id, name=call.name, arguments=call.arguments) for call in called] == list(expected)
    if answer.status is SlmStatus.DENIED:
        assert (theirs.status, theirs.output) == ("incomplete", [])
    if theirs.status == "incomplete":
        assert theirs.incomplete_details is not None
        assert theirs.incomplete_details.reason in ("max_output_tokens", "content_filter")
    assert theirs.usage is not None
    assert theirs.usage.total_tokens == 10


def events(raw: list[bytes]) -> list[Any]:
    """The events of a stream, as the vendor's types read them."""
    assert raw[-1] == DONE
    made: list[Any] = []
    for event in raw[:-1]:
        name, data = event.decode().removesuffix("\n\n").split("\n", 1)
        value = json.loads(data.removeprefix("data: "))
        assert name == f"event: {value['type']}"
        made.append(EVENTS.validate_python(value))
    assert [event.sequence_number for event in made] == list(range(len(made)))
    return made


@given(answers(), st.integers(0, 2**32))
def test_a_stream_says_what_the_whole_answer_says(answer: SlmView, seed: int) -> None:
    sent = body(tools=[TOOL])
    text, dice = answer.text or "", random.Random(seed)
    stream = ResponseStream(running(), sent)
    raw, given_out = list(stream.begin()), 0
    while given_out < len(text) and dice.random() < 0.8:
        step = dice.randint(1, len(text) - given_out)
        raw += stream.text(text[given_out : given_out + step])
        given_out += step
    made = events([*raw, *stream.end(answer, text[given_out:])])

    assert [event.type for event in made[:2]] == ["response.created", "response.in_progress"]
    last = made[-1]
    expected = TheirResponse.model_validate(whole(answer, sent).model_dump(mode="json"))
    assert last.type == f"response.{expected.status}"
    assert last.response == expected
    assert "".join(event.delta for event in made if event.type == "response.output_text.delta") == text
    done = [event.item for event in made if event.type == "response.output_item.done"]
    assert [item.model_dump() for item in done] == [item.model_dump() for item in expected.output]
    added = [event.output_index for event in made if event.type == "response.output_item.added"]
    assert added == list(range(len(expected.output)))


def test_what_was_said_before_an_answer_was_withheld_stays_said() -> None:
    stream = ResponseStream(running(), body())
    raw = [*stream.begin(), *stream.text("So far so good. ")]
    made = events([*raw, *stream.end(view(status=SlmStatus.DENIED, text=None), "")])
    last = made[-1].response
    assert (last.status, last.incomplete_details.reason, last.output_text) == ("incomplete", "content_filter", "So far so good. ")
    assert last.output[0].status == "incomplete"


@pytest.mark.parametrize(
    ("error", "code"),
    [(ModelRateLimited("The provider is busy."), "server_error"), (TooManyRequests("Wait."), "rate_limit_exceeded")],
)
def test_a_stream_that_fails_ends_with_what_was_said(error: Any, code: str) -> None:
    stream = ResponseStream(running(), body())
    made = events([*stream.begin(), *stream.text("So"), *stream.fail(error)])
    last = made[-1]
    assert last.type == "response.failed"
    assert (last.response.status, last.response.error.code, last.response.error.message) == ("failed", code, error.detail)
    assert last.response.output_text == "So"
