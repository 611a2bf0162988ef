"""OpenAI's paths, asked by the vendor's own client: the whole product behind them, and a vendor that speaks the protocol.

Clients sign in with an API key, as they do anywhere else.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
from fakes.openai_server import FakeOpenAI
from fakes.vendor_server import vector_of
from live import Caller, Live, live
from openai import AsyncOpenAI
from openai_client import LOOK, MODEL, PIXEL, SAY, client_of, key_of, openai_product
from pydantic import BaseModel

from workers.embedded.stack import EmbeddedStack


@pytest.fixture(scope="module")
async def vendor() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI() as fake:
        yield fake


@pytest.fixture(scope="module")
async def product(stack: EmbeddedStack, vendor: FakeOpenAI, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Live]:
    async with openai_product(stack, vendor, tmp_path_factory.mktemp("models")) as running:
        yield running


@pytest.fixture
async def client(product: Live, caller: Caller) -> AsyncIterator[AsyncOpenAI]:
    async with client_of(product, await key_of(caller)) as client:
        yield client


async def test_a_plain_answer(client: AsyncOpenAI, caller: Caller) -> None:
    raw = await client.chat.completions.with_raw_response.create(model=MODEL, messages=SAY, temperature=0.2, user="me")
    answer = raw.parse()
    assert answer.choices[0].message.content == "You asked: What is tea? I was given 0 characters to read."
    assert (answer.choices[0].finish_reason, answer.model) == ("stop", MODEL)
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    request_id = raw.headers["Soma-Request-Id"]
    assert raw.headers["Soma-Workflow-Id"] == f"slm/{caller.tenant}/{request_id}"
    assert answer._request_id == raw.headers["x-request-id"]
    ours = answer.model_extra["soma"]
    assert (ours["request_id"], ours["provider"], ours["model"], ours["attempt"]) == (request_id, "acme", "large", 1)
    assert ours["cost_micros"] > 0
    read = (await caller.get(f"/v1/slm/requests/{request_id}")).json()
    assert (read["status"], read["text"]) == ("completed", answer.choices[0].message.content)


async def test_what_is_sent_reaches_the_vendor(client: AsyncOpenAI, vendor: FakeOpenAI) -> None:
    seen = len(vendor.calls)
    await client.chat.completions.create(
        model="dialogue_reasoning",
        messages=[{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hello."}],
        temperature=0.5,
        top_p=0.25,
        stop=["END"],
        seed=7,
        presence_penalty=0.5,
        frequency_penalty=-0.5,
    )
    body = vendor.calls[seen].body
    assert [(message["role"], message["content"]) for message in body["messages"]] == [
        ("system", "Be brief."),
        ("user", "Hello."),
    ]
    sent = {"temperature": 0.5, "top_p": 0.25, "stop": ["END"], "seed": 7, "presence_penalty": 0.5, "frequency_penalty": -0.5}
    assert {name: body[name] for name in sent} == sent
    assert 333 in (body.get("max_tokens"), body.get("max_completion_tokens"))


async def test_a_stream(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model=MODEL, messages=SAY, stream=True, stream_options={"include_usage": True})
    text, finishes, usages = "", [], []
    async for chunk in stream:
        if chunk.usage:
            usages.append((chunk.usage.total_tokens, chunk.choices))
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finishes += [choice.finish_reason] if choice.finish_reason else []
    assert (text, finishes) == ("You asked: What is tea? I was given 0 characters to read.", ["stop"])
    assert len(usages) == 1
    assert usages[0][0] > 0
    assert usages[0][1] == []


async def test_a_stream_has_our_headers_and_ends_with_done(caller: Caller) -> None:
    body = {"model": MODEL, "messages": SAY, "stream": True}
    async with caller.http.stream("POST", "/v1/chat/completions", json=body, headers=caller.headers) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert answer.headers["Soma-Request-Id"].startswith("slm_")
        assert answer.headers["x-request-id"]
        lines = [line async for line in answer.aiter_lines() if line.startswith("data: ")]
    assert lines[-1] == "data: [DONE]"
    assert all("usage" not in json.loads(line[6:]) for line in lines[:-1])


@pytest.mark.parametrize("stream", [False, True])
async def test_tools_are_called_and_their_answers_taken(client: AsyncOpenAI, stream: bool) -> None:
    messages: list[Any] = [{"role": "user", "content": "What is the weather?"}]
    if stream:
        async with client.chat.completions.stream(model=MODEL, messages=messages, tools=[LOOK]) as events:
            first = await events.get_final_completion()
    else:
        first = await client.chat.completions.create(model=MODEL, messages=messages, tools=[LOOK])
    assert first.choices[0].finish_reason == "tool_calls"
    (call,) = first.choices[0].message.tool_calls or ()
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == ("look", {"question": "What is the weather?"})
    messages += [first.choices[0].message.to_dict(), {"role": "tool", "tool_call_id": call.id, "content": "Rain."}]
    second = await client.chat.completions.create(model=MODEL, messages=messages, tools=[LOOK])
    assert second.choices[0].message.content == "The tool said: Rain."


async def test_a_tool_may_be_chosen_or_ruled_out(client: AsyncOpenAI) -> None:
    other = LOOK | {"function": LOOK["function"] | {"name": "other"}}
    chosen = await client.chat.completions.create(
        model=MODEL, messages=SAY, tools=[LOOK, other], tool_choice={"type": "function", "function": {"name": "other"}}
    )
    assert [call.function.name for call in chosen.choices[0].message.tool_calls or ()] == ["other"]
    ruled_out = await client.chat.completions.create(model=MODEL, messages=SAY, tools=[LOOK], tool_choice="none")
    assert ruled_out.choices[0].message.tool_calls is None


class City(BaseModel):
    """A shape to answer in."""

    name: str
    inhabitants: int


async def test_json_of_a_schema_and_any_json(client: AsyncOpenAI) -> None:
    parsed = await client.chat.completions.parse(model=MODEL, messages=SAY, response_format=City)
    assert parsed.choices[0].message.parsed == City(name="text", inhabitants=1)
    loose = await client.chat.completions.create(model=MODEL, messages=SAY, response_format={"type": "json_object"})
    assert isinstance(json.loads(loose.choices[0].message.content or ""), dict)


async def test_images_go_by_value(client: AsyncOpenAI) -> None:
    def shown(url: str) -> list[Any]:
        return [
            {"role": "user", "content": [{"type": "text", "text": "This?"}, {"type": "image_url", "image_url": {"url": url}}]}
        ]

    seen = await client.chat.completions.create(model=MODEL, messages=shown(f"data:image/png;base64,{PIXEL}"))
    assert "I saw 1 images." in (seen.choices[0].message.content or "")
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model=MODEL, messages=shown("https://example.com/cat.png"))
    assert caught.value.param == "messages[0].content[1].image_url.url"
    assert "not fetched" in caught.value.message


@pytest.mark.parametrize("texts", ["tea", ["tea", "coffee", "water"]])
async def test_embeddings_as_numbers_and_in_base64(client: AsyncOpenAI, texts: Any) -> None:
    expected = [vector_of(text, None) for text in ([texts] if isinstance(texts, str) else texts)]
    coded = await client.embeddings.create(model="acme/vectors", input=texts)  # base64 is what the client asks for
    plain = await client.embeddings.create(model="embeddings", input=texts, encoding_format="float")
    for answer in (coded, plain):
        assert [item.embedding for item in answer.data] == expected
        assert [item.index for item in answer.data] == list(range(len(expected)))
        assert answer.model == "acme/vectors"
        assert answer.usage.prompt_tokens == len(expected)
    short = await client.embeddings.create(model="vectors", input="tea", dimensions=2, encoding_format="float")
    assert len(short.data[0].embedding) == 2


async def test_without_a_provider_the_embedded_models_answer(tmp_path: Path) -> None:
    # On servers of its own: workers of the others would take its calls.
    alone = EmbeddedStack(tmp_path / "home", durable=False, tied=True, time_skipping=True)
    await asyncio.to_thread(alone.start)
    try:
        await embedded_answers(alone)
    finally:
        await asyncio.to_thread(alone.stop)


async def embedded_answers(stack: EmbeddedStack) -> None:
    async with live(stack) as bare, bare.caller() as caller, client_of(bare, await key_of(caller)) as client:
        answer = await client.chat.completions.create(model="dialogue_reasoning", messages=SAY)
        assert answer.model == "soma/soma-extractive"
        assert answer.model_extra["soma"]["fallback"] is True
        vectors = await client.embeddings.create(model="embeddings", input=["tea", "tea"])
        assert vectors.data[0].embedding == vectors.data[1].embedding


async def test_models_and_roles_are_listed_and_read(client: AsyncOpenAI) -> None:
    found = [model.id async for model in await client.models.list()]
    assert {"dialogue_reasoning", "embeddings", "acme/large", "acme/vectors", "soma/soma-extractive"} <= set(found)
    for name in ("acme/large", "dialogue_reasoning", "plain"):
        assert (await client.models.retrieve(name)).id in found
    with pytest.raises(openai.NotFoundError) as caught:
        await client.models.retrieve("acme/none")
    assert caught.value.code == "model_not_found"


async def test_a_response(client: AsyncOpenAI) -> None:
    raw = await client.responses.with_raw_response.create(
        model=MODEL, instructions="Be brief.", input="What is tea?", metadata={"a": "b"}, store=True
    )
    answer = raw.parse()
    assert answer.output_text == "You asked: What is tea? I was given 9 characters to read."
    assert (answer.status, answer.model, answer.metadata) == ("completed", MODEL, {"a": "b"})
    assert answer.usage is not None
    assert answer.usage.total_tokens > 0
    assert answer.id == "resp_" + raw.headers["Soma-Request-Id"].removeprefix("slm_")


async def test_a_response_as_events(client: AsyncOpenAI) -> None:
    kinds: list[str] = []
    text = ""
    async with client.responses.stream(model=MODEL, input="What is tea?") as events:
        async for event in events:
            kinds.append(event.type)
            if event.type == "response.output_text.delta":
                text += event.delta
        final = await events.get_final_response()
    assert text == final.output_text == "You asked: What is tea? I was given 0 characters to read."
    assert list(dict.fromkeys(kinds)) == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]


async def test_a_response_that_calls_a_tool(client: AsyncOpenAI) -> None:
    tool: Any = {"type": "function", "strict": False, **LOOK["function"]}
    said: list[Any] = [{"role": "user", "content": "What is the weather?"}]
    async with client.responses.stream(model=MODEL, input=said, tools=[tool]) as events:
        first = await events.get_final_response()
    (call,) = first.output
    assert call.type == "function_call"
    said += [item.to_dict() for item in first.output]
    said.append({"type": "function_call_output", "call_id": call.call_id, "output": "Rain."})
    second = await client.responses.create(model=MODEL, input=said, tools=[tool])
    assert second.output_text == "The tool said: Rain."


async def test_a_response_in_a_shape(client: AsyncOpenAI) -> None:
    parsed = await client.responses.parse(model=MODEL, input="Which city?", text_format=City)
    assert parsed.output_parsed == City(name="text", inhabitants=1)
    with pytest.raises(openai.BadRequestError) as caught:
        await client.responses.create(model=MODEL, input="And?", previous_response_id=parsed.id)
    assert caught.value.param == "previous_response_id"


async def test_a_key_makes_a_repeat_the_same_request(client: AsyncOpenAI, vendor: FakeOpenAI) -> None:
    once, seen = {"Idempotency-Key": str(uuid.uuid4())}, len(vendor.calls)
    first = await client.chat.completions.with_raw_response.create(model=MODEL, messages=SAY, extra_headers=once)
    again = await client.chat.completions.with_raw_response.create(model=MODEL, messages=SAY, extra_headers=once)
    assert first.parse() == again.parse()
    assert first.headers["Soma-Request-Id"] == again.headers["Soma-Request-Id"]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(vendor.calls) == seen + 1
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        await client.chat.completions.create(model=MODEL, messages=[*SAY, *SAY], extra_headers=once)
    assert caught.value.code == "idempotency_key_reused"
    await client.chat.completions.create(model=MODEL, messages=SAY)
    await client.chat.completions.create(model=MODEL, messages=SAY)
    assert len(vendor.calls) == seen + 3


async def test_the_client_waits_for_the_first_of_two_with_one_key(product: Live, caller: Caller, vendor: FakeOpenAI) -> None:
    once, seen = {"Idempotency-Key": str(uuid.uuid4())}, len(vendor.calls)
    async with client_of(product, await key_of(caller), max_retries=5) as patient:
        with vendor.held():
            first = asyncio.create_task(patient.chat.completions.create(model=MODEL, messages=SAY, extra_headers=once))
            await vendor.arrived(seen + 1)
            async with client_of(product, patient.api_key) as hasty:
                with pytest.raises(openai.ConflictError) as caught:
                    await hasty.chat.completions.create(model=MODEL, messages=SAY, extra_headers=once)
            second = asyncio.create_task(patient.chat.completions.create(model=MODEL, messages=SAY, extra_headers=once))
        assert await first == await second
    assert (caught.value.code, caught.value.response.headers["x-should-retry"]) == ("request_in_progress", "true")
    assert len(vendor.calls) == seen + 1


async def test_a_key_makes_a_repeated_stream_the_same_answer(client: AsyncOpenAI, vendor: FakeOpenAI) -> None:
    once, seen = {"Idempotency-Key": str(uuid.uuid4())}, len(vendor.calls)

    async def told() -> tuple[str, str]:
        stream = await client.chat.completions.create(model=MODEL, messages=SAY, stream=True, extra_headers=once)
        chunks = [chunk async for chunk in stream]
        return chunks[0].id, "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)

    assert await told() == await told()
    assert len(vendor.calls) == seen + 1


LONG = "a harbour and its ships, " * 40


async def arrivals(stream: Any, vendor: FakeOpenAI) -> tuple[list[str], int]:
    """The texts as they came, and how many of them before the vendor was let go on."""
    texts: list[str] = []
    early = 0
    async for chunk in stream:
        texts += [choice.delta.content for choice in chunk.choices if choice.delta.content]
        if len(texts) >= 2 and not early:
            early = len(texts)
            vendor.release()
    return texts, early


async def test_a_stream_shows_words_while_the_vendor_still_writes(client: AsyncOpenAI, vendor: FakeOpenAI) -> None:
    """The vendor writes half of its answer and then only keeps the line open; what it wrote is seen all the same. It breaks
    off when it is let go, is asked again, and begins with what was sent: the client notices nothing."""
    vendor.reset()
    seen = len(vendor.calls)
    vendor.modes.append("drip")
    stream = await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": LONG}], stream=True)
    async with asyncio.timeout(60):
        texts, early = await arrivals(stream, vendor)
    assert early >= 2
    assert "".join(texts) == f"You asked: {LONG} I was given 0 characters to read."
    assert len(vendor.calls) == seen + 2
    vendor.reset()
