"""Chat completions in OpenAI's words: the vendor's own types read what we write, and we read what its clients send."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion as TheirCompletion
from openai.types.chat import ChatCompletionChunk as TheirChunk
from openai_views import answers, calls, clean, names, running, view
from pydantic import ValidationError

from api.openai_surface.chat import chat_input, completion
from api.openai_surface.chat_models import ChatCompletionBody
from api.openai_surface.chat_stream import DONE, ChatStream
from domain.errors import InvalidRequest, ModelStreamBroken
from domain.models import ChatMessage, FinishReason, ImagePart, JsonSchemaFormat, ToolCall
from domain.slm import SlmStatus, SlmView

PIXEL = "iVBORw0KGgo="
USER = {"role": "user", "content": "Good morning."}


def read(*messages: dict[str, Any], **more: Any) -> Any:
    body = ChatCompletionBody.model_validate({"model": "m", "messages": list(messages or (USER,)), **more})
    return chat_input(body, 100)


def part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def image(data: str = PIXEL, kind: str = "png") -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{data}", "detail": "low"}}


def spoken(message: ChatMessage) -> dict[str, Any]:
    """A message as OpenAI's clients send it."""
    match message.role:
        case "tool":
            return {"role": "tool", "tool_call_id": message.tool_call_id, "content": message.content}
        case "assistant":
            called = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in message.tool_calls
            ]
            return {"role": "assistant", "content": message.content, "refusal": None, "tool_calls": called or None}
        case role:
            return {"role": role, "content": message.content}


@st.composite
def conversations(draw: st.DrawFn) -> list[ChatMessage]:
    """Conversations a model can go on with."""
    made: list[ChatMessage] = [ChatMessage(role="system", content=draw(clean.filter(bool)))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(0, 3))):
        made.append(ChatMessage(role="user", content=draw(clean.filter(bool))))
        called = draw(st.lists(calls, max_size=2, unique_by=lambda call: call.id))
        made.append(
            ChatMessage(role="assistant", content=draw(clean if called else clean.filter(bool)), tool_calls=tuple(called))
        )
        made += [ChatMessage(role="tool", content=draw(clean), tool_call_id=call.id) for call in called]
    return [*made, ChatMessage(role="user", content=draw(clean.filter(bool)))]


@given(conversations(), st.lists(names, unique=True, max_size=3))
def test_what_a_client_sends_is_what_the_model_is_asked(conversation: list[ChatMessage], tools: list[str]) -> None:
    sent = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in tools]
    asked = read(*map(spoken, conversation), tools=sent)
    assert list(asked.messages) == conversation
    assert [tool.name for tool in asked.tools] == tools


def test_every_setting_arrives_and_what_is_not_sent_is_left_open() -> None:
    asked = read(
        temperature=0,
        top_p=0.5,
        seed=-4,
        stop="END",
        presence_penalty=1,
        frequency_penalty=-1,
        max_completion_tokens=9,
        parallel_tool_calls=False,
        tools=[{"type": "function", "function": {"name": "look", "strict": True, "description": "Looks."}}],
        tool_choice={"type": "function", "function": {"name": "look"}},
    )
    assert asked.settings.model_dump(exclude_unset=True) == {
        "temperature": 0,
        "top_p": 0.5,
        "seed": -4,
        "stop": ("END",),
        "presence_penalty": 1,
        "frequency_penalty": -1,
    }
    assert (asked.max_output_tokens, asked.parallel_tool_calls, asked.tool_choice) == (9, False, "look")
    assert (asked.tools[0].strict, asked.tools[0].description) == (True, "Looks.")
    assert read(max_tokens=9).max_output_tokens == read(max_tokens=9, max_completion_tokens=9).max_output_tokens == 9
    plain = read(temperature=None, stop=None, stream=None)
    assert (plain.settings.model_fields_set, plain.max_output_tokens, plain.format) == (set(), 100, None)


def test_formats() -> None:
    assert read(response_format={"type": "text"}).format is None
    assert read(response_format={"type": "json_object"}).format == JsonSchemaFormat()
    schema = {"name": "city", "schema": {"type": "object"}, "strict": True, "description": "A city."}
    assert read(response_format={"type": "json_schema", "json_schema": schema}).format == JsonSchemaFormat(
        name="city", schema={"type": "object"}, strict=True
    )


def test_images_keep_their_place_among_texts() -> None:
    shown = ImagePart(media_type="image/png", data=PIXEL)
    asked = read({"role": "user", "content": [part("This"), part("one"), image(), part("or that"), image(), image()]})
    assert [(message.content, len(message.images)) for message in asked.messages] == [("This\none", 1), ("or that", 2)]
    assert asked.messages[0].images == (shown,)
    assert read({"role": "user", "content": [image()]}).messages == (ChatMessage(role="user", content="", images=(shown,)),)


def test_parts_and_older_shapes_of_messages() -> None:
    asked = read(
        {"role": "developer", "content": [part("Be"), part("brief")], "name": "app"},
        {"role": "user", "content": "hi", "name": "ann"},
        {"role": "assistant", "content": None, "refusal": "I will not.", "annotations": [], "audio": None, "function_call": None},
        {"role": "user", "content": [part("a")]},
        {
            "role": "assistant",
            "content": [{"type": "refusal", "refusal": "No."}, part("Or"), part("so")],
            "reasoning_content": "m",
        },
        {"role": "user", "content": "go"},
    )
    assert [(message.role, message.content) for message in asked.messages] == [
        ("system", "Be\nbrief"),
        ("user", "hi"),
        ("assistant", "I will not."),
        ("user", "a"),
        ("assistant", "No.\nOr\nso"),
        ("user", "go"),
    ]


HARMLESS = {
    "n": 1,
    "logprobs": False,
    "top_logprobs": 0,
    "logit_bias": {},
    "modalities": ["text"],
    "functions": [],
    "audio": None,
    "user": "u",
    "metadata": {"a": "b"},
    "store": True,
    "service_tier": "auto",
    "safety_identifier": "s",
    "prompt_cache_key": "k",
    "prediction": {"type": "content", "content": "x"},
    "reasoning_effort": "low",
    "verbosity": "low",
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_changes_nothing_is_accepted(name: str) -> None:
    assert read(**{name: HARMLESS[name]}) == read()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 2),
        ("n", True),
        ("logprobs", True),
        ("top_logprobs", 3),
        ("logit_bias", {"5": 1}),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "a", "format": "wav"}),
        ("functions", [{"name": "f"}]),
        ("function_call", "auto"),
        ("web_search_options", {}),
        ("top_k", 3),
        ("temperature", "0.5"),
        ("temperature", 3),
        ("temperature", float("nan")),
        ("max_tokens", -1),
        ("max_tokens", 1.5),
        ("stop", ["a"] * 5),
        ("stream", "yes"),
        ("tool_choice", "sometimes"),
        ("tools", [{"type": "custom", "custom": {"name": "c"}}]),
        ("tools", [{"type": "function", "function": {"name": "has space"}}]),
        ("response_format", {"type": "grammar"}),
    ],
)
def test_what_would_change_the_answer_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        read(**{name: value})
    assert caught.value.errors()[0]["loc"][0] == name


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({"messages": [USER, {"role": "assistant", "content": "Yes?"}]}, "messages"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": [image(), part("a"), image(), part("")]}, USER]}, "messages[0]"),
        ({"messages": [USER, {"role": "tool", "tool_call_id": "c", "content": "4"}]}, "messages[1]"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "array"}}}]}, "tools"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}] * 2}, "tools"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"max_tokens": 4, "max_completion_tokens": 5}, "max_tokens"),
    ],
)
def test_what_no_model_can_go_on_with_is_refused_by_its_place(sent: dict[str, Any], param: str) -> None:
    messages = sent.pop("messages", [USER])
    with pytest.raises(InvalidRequest) as caught:
        read(*messages, **sent)
    assert caught.value.members["param"] == param


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a.png",
        "http://169.254.169.254/",
        "file:///etc/passwd",
        "data:image/svg+xml;base64,AA==",
        "data:image/png,AA",
        "",
    ],
)
def test_images_come_by_value_alone(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        read({"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]})
    assert any("addresses of images are not fetched" in fault["msg"] for fault in caught.value.errors())


@given(answers())
def test_the_vendors_types_read_our_answer(answer: SlmView) -> None:
    theirs = TheirCompletion.model_validate(completion(answer, "asked").model_dump(mode="json"))
    message = theirs.choices[0].message
    assert theirs.model == "acme/large"
    assert theirs.usage is not None
    assert theirs.usage.total_tokens == 10
    if answer.status is SlmStatus.DENIED:
        assert (message.content, message.tool_calls, theirs.choices[0].finish_reason) == (None, None, "content_filter")
        return
    assert (message.content or "") == answer.text
    assert answer.message is not None
    assert [
        ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments) for call in message.tool_calls or ()
    ] == list(answer.message.tool_calls)
    assert (theirs.choices[0].finish_reason == "tool_calls") >= bool(answer.message.tool_calls)


def test_an_answer_says_where_it_comes_from() -> None:
    made = completion(view(budgets=("bud_1",)), "asked").model_dump(mode="json")
    assert made["id"] == "chatcmpl-" + "0" * 31 + "a"
    assert made["soma"] == {
        "request_id": view().request_id,
        "workflow_id": view().workflow_id,
        "provider": "acme",
        "model": "large",
        "attempt": 1,
        "fallback": False,
        "cost_micros": 12,
        "currency": "USD",
        "price_snapshot": "s1",
        "budgets": ["bud_1"],
    }
    assert completion(view(text="", finish_reason="length"), "a").choices[0].message.content == ""
    assert completion(view(finish_reason="length"), "a").choices[0].finish_reason is FinishReason.LENGTH


def test_an_answer_that_was_withheld_is_never_shown() -> None:
    called = ChatMessage(role="assistant", content="secret", tool_calls=(ToolCall(id="c", name="f", arguments="{}"),))
    held = view(status=SlmStatus.DENIED, text="secret", message=called)
    assert "secret" not in completion(held, "a").model_dump_json()
    assert b"secret" not in b"".join(ChatStream(running(), "a", include_usage=True).end(held, ""))


def chunks(raw: list[bytes]) -> list[TheirChunk]:
    """The chunks of a stream, which ends with `[DONE]`."""
    assert raw[-1] == DONE
    made: list[TheirChunk] = []
    for event in raw[:-1]:
        assert event.startswith(b"data: ")
        assert event.endswith(b"\n\n")
        made.append(TheirChunk.model_validate(json.loads(event[6:])))
    return made


@given(answers(), st.integers(0, 2**32), st.booleans())
def test_a_stream_says_what_the_whole_answer_says(answer: SlmView, seed: int, include_usage: bool) -> None:
    text, dice = answer.text or "", random.Random(seed)
    stream = ChatStream(running(), "asked", include_usage=include_usage)
    raw, sent = list(stream.begin()), 0
    while sent < len(text) and dice.random() < 0.8:
        step = dice.randint(1, len(text) - sent)
        raw += stream.text(text[sent : sent + step])
        sent += step
    made = chunks([*raw, *stream.end(answer, text[sent:])])
    whole = completion(answer, "asked")

    choices = [chunk.choices[0] for chunk in made if chunk.choices]
    assert choices[0].delta.role == "assistant"
    assert "".join(choice.delta.content or "" for choice in choices) == (whole.choices[0].message.content or "")
    called = [call for choice in choices for call in choice.delta.tool_calls or ()]
    assert [call.index for call in called] == list(range(len(called)))
    assert [(call.id, call.function.name, call.function.arguments) for call in called if call.function] == [
        (call.id, call.function.name, call.function.arguments) for call in whole.choices[0].message.tool_calls or ()
    ]
    assert [choice.finish_reason for choice in choices] == [None] * (len(choices) - 1) + [whole.choices[0].finish_reason.value]
    assert {chunk.id for chunk in made} == {whole.id}
    used = [chunk.usage.total_tokens for chunk in made if chunk.usage]
    assert used == ([10] if include_usage else [])
    assert bool(made[-1].choices) is not include_usage


def test_a_stream_that_fails_tells_it_in_an_error_chunk() -> None:
    stream = ChatStream(running(), "asked", include_usage=True)
    told, done = stream.fail(ModelStreamBroken("The answer broke off."))
    assert json.loads(told[6:]) == {
        "error": {"message": "The answer broke off.", "type": "server_error", "param": None, "code": "model_stream_broken"}
    }
    assert done == DONE
