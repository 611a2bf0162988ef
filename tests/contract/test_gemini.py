"""What is Gemini's own in its adapter: addresses, parts, signatures, ways to end, and how its numbers add up.

What it has in common with the other vendors stands in `test_provider_matrix`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from contract.provider_cases import KEY, MARKER, MODEL, WAYS, asking
from fakes.gemini_server import FakeGemini
from fakes.vendor_server import WORDS, event_of

from adapters.providers.answers import render_sources
from adapters.providers.gemini import GeminiModel
from domain.catalogue import ProviderConfig, ProviderKind
from domain.errors import (
    DomainError,
    ModelBadRequest,
    ModelContextExceeded,
    ModelKeyRefused,
    ModelOverloaded,
    ModelRateLimited,
    ModelStreamBroken,
    UnsupportedByModel,
)
from domain.models import ChatMessage, EmbeddingRequest, ImagePart, JsonSchemaFormat, SourceText, ToolCall, ToolDefinition
from domain.sessions import Usage

QUESTION = ChatMessage(role="user", content=f"what about {MARKER}")
TOOL = ToolDefinition(name="look_up", description="Looks up.", parameters={"type": "object", "properties": {}})


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[FakeGemini]:
    async with FakeGemini(api_key=KEY) as found:
        yield found


@pytest.fixture
def fake(server: FakeGemini) -> FakeGemini:
    server.reset()
    return server


@pytest.fixture
async def gemini(fake: FakeGemini) -> AsyncIterator[GeminiModel]:
    provider = adapter(fake.url)
    yield provider
    await provider.close()


def adapter(base_url: str | None, version: str | None = None) -> GeminiModel:
    return GeminiModel("house", ProviderConfig(kind=ProviderKind.GEMINI, base_url=base_url, api_version=version), KEY)


@pytest.mark.parametrize(
    ("suffix", "version", "path"),
    [
        ("", None, "/v1/models/m:generateContent"),
        ("/", "v1beta", "/v1beta/models/m:generateContent"),
        ("/v1beta", None, "/v1beta/models/m:generateContent"),
        ("/v1beta/", "v1", "/v1/models/m:generateContent"),
    ],
)
async def test_the_version_stands_in_the_address_or_in_the_setting(
    fake: FakeGemini, suffix: str, version: str | None, path: str
) -> None:
    provider = adapter(fake.url + suffix, version)
    await provider.complete("m", asking())
    await provider.close()
    assert fake.calls[0].path == path


@pytest.mark.parametrize("base_url", ["ftp://host", "http://", "http://host/?key=1", "host"])
def test_an_address_that_is_none(base_url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        adapter(base_url)


async def test_the_whole_request(fake: FakeGemini, gemini: GeminiModel) -> None:
    source = SourceText(source="doc_1", title="Tea", text="Steep it.")
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    messages = (
        ChatMessage(role="system", content="Be brief."),
        ChatMessage(role="user", content="first"),
        ChatMessage(role="assistant", content="answer"),
        ChatMessage(role="user", content="look", images=(ImagePart(media_type="image/png", data="iVBORw0KGgo="),)),
    )
    await gemini.complete("m", asking(*messages, sources=(source,), format=JsonSchemaFormat(schema=schema)))
    assert fake.calls[0].body == {
        "systemInstruction": {"parts": [{"text": render_sources((source,)) + "\n\nBe brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "first"}]},
            {"role": "model", "parts": [{"text": "answer"}]},
            {
                "role": "user",
                "parts": [{"text": "look"}, {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}],
            },
        ],
        "generationConfig": {
            "maxOutputTokens": 77,
            "responseMimeType": "application/json",
            "responseJsonSchema": schema,
        },
    }


@pytest.mark.parametrize(
    ("model", "signatures"),
    [
        ("gemini-3-pro", ["skip_thought_signature_validator", None]),
        ("gemini-2.5-flash", [None, None]),
        ("gemini-1.5-pro", [None, None]),
        ("gemini-flash-latest", ["skip_thought_signature_validator", None]),
    ],
)
async def test_tool_calls_and_their_results(
    fake: FakeGemini, gemini: GeminiModel, model: str, signatures: list[str | None]
) -> None:
    calls = tuple(ToolCall(id=f"c{number}", name="look_up", arguments=f'{{"word": {number}}}') for number in range(2))
    messages = (
        QUESTION,
        ChatMessage(role="assistant", content="", tool_calls=calls),
        ChatMessage(role="tool", content="one", tool_call_id="c1"),
        ChatMessage(role="tool", content='{"error": 1}', tool_call_id="c0"),
    )
    said = await gemini.complete(model, asking(*messages, tools=(TOOL,)))
    assert said.text == 'The tool said: one and {"error": 1}'
    _, called, results = fake.calls[0].body["contents"]
    assert [part["functionCall"] for part in called["parts"]] == [
        {"id": "c0", "name": "look_up", "args": {"word": 0}},
        {"id": "c1", "name": "look_up", "args": {"word": 1}},
    ]
    assert [part.get("thoughtSignature") for part in called["parts"]] == signatures
    assert results == {
        "role": "user",
        "parts": [
            {"functionResponse": {"id": "c1", "name": "look_up", "response": {"output": "one"}}},
            {"functionResponse": {"id": "c0", "name": "look_up", "response": {"output": '{"error": 1}'}}},
        ],
    }


async def test_ids_that_the_vendor_does_not_give_are_stable_and_differ_in_a_conversation(gemini: GeminiModel) -> None:
    wanted = asking(tools=(TOOL,))
    first = (await gemini.complete("m", wanted)).tool_calls
    assert first == (await WAYS["stream"](gemini, wanted)).tool_calls
    called = ChatMessage(role="assistant", content="", tool_calls=first)
    result = ChatMessage(role="tool", content="x", tool_call_id=first[0].id)
    second = (await gemini.complete("m", asking(QUESTION, called, result, QUESTION, tools=(TOOL,)))).tool_calls
    assert len({call.id for call in (*first, *second)}) == 2


@pytest.mark.parametrize(
    ("choice", "strict", "sent"),
    [
        ("auto", False, {"mode": "AUTO"}),
        ("auto", True, {"mode": "VALIDATED"}),
        ("none", True, {"mode": "NONE"}),
        ("required", True, {"mode": "ANY"}),
        ("look_up", False, {"mode": "ANY", "allowedFunctionNames": ["look_up"]}),
    ],
)
async def test_how_tools_are_chosen(
    fake: FakeGemini, gemini: GeminiModel, choice: str, strict: bool, sent: dict[str, Any]
) -> None:
    tool = TOOL.model_copy(update={"strict": strict})
    await gemini.complete("m", asking(tools=(tool,), tool_choice=choice))
    assert fake.calls[0].body["toolConfig"] == {"functionCallingConfig": sent}
    assert fake.calls[0].body["tools"] == [
        {
            "functionDeclarations": [
                {"name": "look_up", "description": "Looks up.", "parametersJsonSchema": TOOL.parameters},
            ]
        }
    ]


@pytest.mark.parametrize("way", WAYS)
async def test_what_it_cannot_take_is_said_before_anything_is_sent(fake: FakeGemini, gemini: GeminiModel, way: str) -> None:
    picture = ChatMessage(role="user", content="x", images=(ImagePart(media_type="image/gif", data="R0lGODlh"),))
    with pytest.raises(UnsupportedByModel, match="image/gif"):
        await WAYS[way](gemini, asking(picture))
    assert fake.calls == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("SPII", "content_filter"),
    ],
)
async def test_why_an_answer_ended(fake: FakeGemini, gemini: GeminiModel, way: str, finish: str, reason: str) -> None:
    fake.finish = finish
    said = await WAYS[way](gemini, asking())
    assert (said.finish_reason, said.text[:9]) == (reason, "You asked")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("finish", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MALFORMED_RESPONSE", "OTHER"])
async def test_an_answer_that_the_model_gave_up_is_none(fake: FakeGemini, gemini: GeminiModel, way: str, finish: str) -> None:
    fake.finish = finish
    with pytest.raises(ModelStreamBroken, match="could not finish"):
        await WAYS[way](gemini, asking())


READ = {"promptTokenCount": 5}
WRITTEN = {**READ, "candidatesTokenCount": 7}
ESTIMATED = None


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("reported", "counted"),
    [
        (WRITTEN, (5, 7)),
        ({**WRITTEN, "thoughtsTokenCount": 20}, (5, 27)),
        ({**WRITTEN, "thoughtsTokenCount": 20, "totalTokenCount": 32}, (5, 27)),
        ({**WRITTEN, "toolUsePromptTokenCount": 3, "totalTokenCount": 15}, (8, 7)),
        ({**WRITTEN, "cachedContentTokenCount": 4, "totalTokenCount": 12}, (5, 7)),
        # Thoughts that are billed and stand in the total alone.
        ({**WRITTEN, "totalTokenCount": 40}, (5, 35)),
        ({**WRITTEN, "totalTokenCount": 3}, (5, 7)),
        (READ, ESTIMATED),
        ({**READ, "thoughtsTokenCount": 20}, ESTIMATED),
        ({"candidatesTokenCount": 7}, ESTIMATED),
        ({**WRITTEN, "candidatesTokenCount": -1}, ESTIMATED),
        ({**WRITTEN, "candidatesTokenCount": True}, ESTIMATED),
        ({**WRITTEN, "candidatesTokenCount": 7.5}, ESTIMATED),
        ({**WRITTEN, "thoughtsTokenCount": "20"}, ESTIMATED),
        ({**WRITTEN, "totalTokenCount": 10**12}, ESTIMATED),
        ({**WRITTEN, "promptTokenCount": None}, ESTIMATED),
        ({**WRITTEN, "promptTokenCount": 0}, ESTIMATED),
    ],
)
async def test_thoughts_are_output_and_numbers_that_cannot_be_are_estimated(
    fake: FakeGemini, gemini: GeminiModel, way: str, reported: dict[str, Any], counted: tuple[int, int] | None
) -> None:
    fake.usage = reported
    said = await WAYS[way](gemini, asking())
    # A stream's earlier chunks told the prompt's tokens, and what the last leaves out stays as it was.
    if way == "stream" and "promptTokenCount" not in reported:
        counted = (3, 7)
    if counted is None:
        assert said.usage.estimated
        assert said.usage.output_tokens == -(-len(said.text.encode()) // 4)
    else:
        assert said.usage == Usage(input_tokens=counted[0], output_tokens=counted[1])


@pytest.mark.parametrize("way", WAYS)
async def test_thoughts_are_no_part_of_the_text(gemini: GeminiModel, way: str) -> None:
    assert "Let me see" not in (await WAYS[way](gemini, asking())).text


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        ((400, "INVALID_ARGUMENT", f"API key expired. {WORDS}", "API_KEY_INVALID"), ModelKeyRefused),
        ((400, "FAILED_PRECONDITION", f"User location is not supported. {WORDS}", None), ModelKeyRefused),
        ((403, "PERMISSION_DENIED", WORDS, "API_KEY_SERVICE_BLOCKED"), ModelKeyRefused),
        (
            (400, "INVALID_ARGUMENT", f"Request payload size exceeds the limit: 20971520 bytes. {WORDS}", None),
            ModelContextExceeded,
        ),
        ((400, "INVALID_ARGUMENT", f"Invalid JSON payload received. {WORDS}", None), ModelBadRequest),
        ((429, "RESOURCE_EXHAUSTED", WORDS, None), ModelRateLimited),
    ],
)
async def test_what_its_errors_mean(
    fake: FakeGemini, gemini: GeminiModel, way: str, refusal: tuple[int, str, str, str | None], error: type[DomainError]
) -> None:
    fake.refusal = refusal
    with pytest.raises(DomainError) as caught:
        await WAYS[way](gemini, asking())
    assert type(caught.value) is error
    assert WORDS not in str(caught.value)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("told", "waited"), [("43.074159", 43.074159), ("99999", 300.0), ("-1", None), ("soon", None)])
async def test_the_pause_that_a_refusal_asks_for(
    fake: FakeGemini, gemini: GeminiModel, way: str, told: str, waited: float | None
) -> None:
    fake.mode, fake.retry_after = "rate_limited", told
    with pytest.raises(ModelRateLimited) as caught:
        await WAYS[way](gemini, asking())
    assert caught.value.retry_after == waited


async def test_texts_to_embed_are_one_request(fake: FakeGemini, gemini: GeminiModel) -> None:
    await gemini.embed(MODEL, EmbeddingRequest(texts=("a", "b"), dimensions=8, idempotency_key="k"))
    await gemini.embed(f"models/{MODEL}", EmbeddingRequest(texts=("a",), idempotency_key="k"))
    first, second = fake.calls
    assert first.path == second.path == f"/v1/models/{MODEL}:batchEmbedContents"
    assert first.body == {
        "requests": [
            {"model": f"models/{MODEL}", "content": {"parts": [{"text": text}]}, "outputDimensionality": 8} for text in "ab"
        ]
    }
    assert second.body == {"requests": [{"model": f"models/{MODEL}", "content": {"parts": [{"text": "a"}]}}]}


@pytest.mark.parametrize(("thought", "error"), [(True, ModelStreamBroken), (False, ModelOverloaded)])
async def test_a_stream_that_fails_after_a_thought_has_begun(thought: bool, error: type[DomainError]) -> None:
    chunk = {"candidates": [{"content": {"role": "model", "parts": [{"text": "Let me see.", "thought": True}]}}]}
    failure = {"error": {"code": 503, "message": WORDS, "status": "UNAVAILABLE"}}
    events = "".join(event_of(event) for event in ([chunk] if thought else []) + [failure])

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + events.encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        provider = adapter(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(DomainError) as caught:
            await WAYS["stream"](provider, asking())
        await provider.close()
    assert type(caught.value) is error
