"""What works with every vendor's adapter: text, tools, JSON, images, embeddings, settings, usage that is checked."""

from __future__ import annotations

import json

import pytest
from contract.provider_cases import KEY, MARKER, MODEL, WAYS, Case, asking, streamed
from fakes.vendor_server import Mode

from adapters.providers.registry import open_provider
from domain.errors import ModelRateLimited, ModelStreamBroken, UnsupportedByModel
from domain.models import (
    ChatMessage,
    EmbeddingRequest,
    ImagePart,
    JsonSchemaFormat,
    ModelSettings,
    SourceText,
    ToolCall,
    ToolDefinition,
)

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "inhabitants": {"type": "integer"}},
    "required": ["city", "inhabitants"],
    "additionalProperties": False,
}
LOOK_UP = ToolDefinition(
    name="look_up", description="Looks a word up.", parameters={"type": "object", "properties": {"question": {"type": "string"}}}
)
DIAL = ToolDefinition(name="dial", description="Dials a number.")


@pytest.mark.parametrize("way", WAYS)
async def test_a_text_with_its_usage_and_the_model_that_wrote_it(case: Case, way: str) -> None:
    case.fake.version = "-2026-11-01"
    said = await WAYS[way](case.provider, asking())
    assert said.text == f"You asked: what about {MARKER} I was given 0 characters to read."
    assert (said.model, said.finish_reason, said.tool_calls) == (f"{MODEL}-2026-11-01", "stop", ())
    assert (said.usage.input_tokens, said.usage.output_tokens, said.usage.estimated) == (3, 12, False)
    (call,) = case.fake.calls
    assert _limit(call.body) == 77
    assert call.idempotency_key == (None if case.name == "gemini" else "session/t/ses/turn")


@pytest.mark.parametrize("way", WAYS)
async def test_a_text_that_postgres_could_not_store_is_made_storable(case: Case, way: str) -> None:
    said = await WAYS[way](case.provider, asking(ChatMessage(role="user", content="a\x00b")))
    assert said.text.startswith("You asked: a\ufffdb ")


async def test_streams_in_a_row_share_a_connection(case: Case) -> None:
    for _ in range(3):
        await streamed(case.provider, asking())
    assert len({call.peer for call in case.fake.calls}) == 1


async def test_a_stream_comes_in_pieces(case: Case) -> None:
    items = [item async for item in case.provider.stream(MODEL, asking())]
    assert len(items) > 5


@pytest.mark.parametrize("way", WAYS)
async def test_sources_and_instructions_are_read(case: Case, way: str) -> None:
    source = SourceText(source="doc_1", title="Tea", text="Steep it.")
    told = ChatMessage(role="system", content="Be brief.")
    said = await WAYS[way](case.provider, asking(told, ChatMessage(role="user", content="How?"), sources=(source,)))
    read = int(said.text.rpartition("given ")[2].partition(" ")[0])
    assert read > len(source.text) + len(told.content)
    sent = json.dumps(case.fake.calls[0].body)
    assert "BEGIN" in sent
    assert "Be brief." in sent


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", ["no_usage", "wrong_usage"])
async def test_usage_that_is_missing_or_none_is_estimated_and_says_so(case: Case, way: str, mode: Mode) -> None:
    case.fake.mode = mode
    said = await WAYS[way](case.provider, asking())
    sent = f"what about {MARKER}".encode()
    assert said.usage.estimated
    assert said.usage.input_tokens == -(-len(sent) // 4)
    assert said.usage.output_tokens == -(-len(said.text.encode()) // 4)


@pytest.mark.parametrize("way", WAYS)
async def test_more_than_was_allowed_is_told_in_full(case: Case, way: str) -> None:
    case.fake.mode = "overrun"
    said = await WAYS[way](case.provider, asking())
    assert (said.usage.output_tokens, said.usage.estimated) == (177, False)


@pytest.mark.parametrize("way", WAYS)
async def test_an_answer_that_was_cut_off_before_it_began_has_its_usage(case: Case, way: str) -> None:
    case.fake.mode = "length"
    said = await WAYS[way](case.provider, asking())
    assert (said.text, said.finish_reason, said.usage.input_tokens, said.usage.estimated) == ("", "length", 3, False)


@pytest.mark.parametrize("way", WAYS)
async def test_tools_are_called_and_their_results_are_read(case: Case, way: str) -> None:
    question = ChatMessage(role="user", content="what is tea")
    said = await WAYS[way](case.provider, asking(question, tools=(LOOK_UP, DIAL)))
    assert [call.name for call in said.tool_calls] == ["look_up", "dial"]
    assert [json.loads(call.arguments) for call in said.tool_calls] == [{"question": "what is tea"}] * 2
    assert len({call.id for call in said.tool_calls}) == 2
    assert (said.text, said.finish_reason) == ("", "tool_calls")

    called = ChatMessage(role="assistant", content="", tool_calls=said.tool_calls)
    results = [ChatMessage(role="tool", content=f"{call.name} is done", tool_call_id=call.id) for call in said.tool_calls]
    then = await WAYS[way](case.provider, asking(question, called, *results, tools=(LOOK_UP, DIAL)))
    assert then.text.startswith("The tool said: ")
    assert "dial is done" in then.text
    assert (then.finish_reason, then.tool_calls) == ("stop", ())


@pytest.mark.parametrize(("choice", "called"), [("required", ["look_up", "dial"]), ("dial", ["dial"]), ("none", [])])
async def test_which_tool_is_called_can_be_told(case: Case, choice: str, called: list[str]) -> None:
    said = await case.provider.complete(MODEL, asking(tools=(LOOK_UP, DIAL), tool_choice=choice))
    assert [call.name for call in said.tool_calls] == called


async def test_one_tool_at_a_time(case: Case) -> None:
    wanted = asking(tools=(LOOK_UP, DIAL), parallel_tool_calls=False)
    if case.name == "gemini":
        with pytest.raises(UnsupportedByModel, match="one tool call"):
            await case.provider.complete(MODEL, wanted)
        return
    said = await case.provider.complete(MODEL, wanted)
    assert [call.name for call in said.tool_calls] == ["look_up"]


async def test_a_tool_is_strict_where_it_is_told_to_be(case: Case) -> None:
    await case.provider.complete(MODEL, asking(tools=(LOOK_UP, DIAL.model_copy(update={"strict": True}))))
    body = case.fake.calls[0].body
    if case.name == "gemini":
        assert body["toolConfig"]["functionCallingConfig"] == {"mode": "VALIDATED"}
        return
    told = [tool.get("function", tool).get("strict") for tool in body["tools"]]
    # Without the word, the Responses API takes a tool for a strict one.
    assert told == [False if case.name == "openai_responses" else None, True]


@pytest.mark.parametrize("way", WAYS)
async def test_json_of_a_schema(case: Case, way: str) -> None:
    wanted = asking(format=JsonSchemaFormat(name="place", schema=SCHEMA, strict=True))
    said = await WAYS[way](case.provider, wanted)
    assert json.loads(said.text) == {"city": "text", "inhabitants": 1}


async def test_any_json_object(case: Case) -> None:
    wanted = asking(format=JsonSchemaFormat())
    if case.name.startswith("anthropic"):
        with pytest.raises(UnsupportedByModel, match="without a schema"):
            await case.provider.complete(MODEL, wanted)
        return
    assert json.loads((await case.provider.complete(MODEL, wanted)).text) == {"answer": "text"}


@pytest.mark.parametrize("way", WAYS)
async def test_images_are_shown(case: Case, way: str) -> None:
    image = ImagePart(media_type="image/png", data="iVBORw0KGgo=")
    said = await WAYS[way](case.provider, asking(ChatMessage(role="user", content="what is it", images=(image, image))))
    assert said.text.endswith("I saw 2 images.")


async def test_one_vector_a_text(case: Case) -> None:
    wanted = EmbeddingRequest(texts=("tea", "a long story of tea"), dimensions=6, idempotency_key="k")
    if case.name.startswith("anthropic"):
        with pytest.raises(UnsupportedByModel):
            await case.provider.embed(MODEL, wanted)
        assert case.fake.calls == []
        return
    said = await case.provider.embed(MODEL, wanted)
    assert [len(vector) for vector in said.vectors] == [6, 6]
    assert said.vectors[0] != said.vectors[1]
    assert (said.usage.input_tokens, said.usage.output_tokens, said.usage.estimated) == (6, 0, False)
    for mode in ("no_usage", "wrong_usage"):
        case.fake.mode = mode
        assert (await case.provider.embed(MODEL, wanted)).usage.estimated
    for mode, error in (("empty", ModelStreamBroken), ("truncated", ModelStreamBroken), ("rate_limited", ModelRateLimited)):
        case.fake.mode = mode
        with pytest.raises(error):
            await case.provider.embed(MODEL, wanted)


SETTINGS = {
    "temperature": 0.5,
    "top_p": 0.9,
    "stop": ("END",),
    "seed": 7,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.2,
}
UNKNOWN_SETTINGS = {
    "openai_responses": {"stop", "seed", "presence_penalty", "frequency_penalty"},
    "anthropic": {"temperature", "top_p", "seed", "presence_penalty", "frequency_penalty"},
    "anthropic_2023": {"seed", "presence_penalty", "frequency_penalty"},
}
NAMES = {"top_p": "topP", "stop": "stopSequences", "presence_penalty": "presencePenalty", "frequency_penalty": "frequencyPenalty"}


@pytest.mark.parametrize("setting", SETTINGS)
async def test_a_setting_is_sent_or_refused_but_never_dropped(case: Case, setting: str) -> None:
    wanted = asking(settings=ModelSettings.model_validate({setting: SETTINGS[setting]}))
    if setting in UNKNOWN_SETTINGS.get(case.name, ()):
        for way in WAYS.values():
            with pytest.raises(UnsupportedByModel, match=setting):
                await way(case.provider, wanted)
        assert case.fake.calls == []
        return
    await case.provider.complete(MODEL, wanted)
    body = case.fake.calls[0].body
    if case.name == "gemini":
        sent = body["generationConfig"][NAMES.get(setting, setting)]
    else:
        renamed = setting == "stop" and case.name.startswith("anthropic")
        sent = body["stop_sequences" if renamed else setting]
    assert sent == (["END"] if setting == "stop" else SETTINGS[setting])


@pytest.mark.parametrize(
    "messages",
    [
        (ChatMessage(role="user", content="x"), ChatMessage(role="tool", content="lost")),
        (
            ChatMessage(role="user", content="x"),
            ChatMessage(role="assistant", content="", tool_calls=(ToolCall(id="1", name="dial", arguments="{half"),)),
            ChatMessage(role="tool", content="done", tool_call_id="1"),
        ),
    ],
    ids=["result without a call", "arguments that are no JSON"],
)
async def test_what_a_protocol_cannot_express_is_said_before_anything_is_sent(
    case: Case, messages: tuple[ChatMessage, ...]
) -> None:
    broken_arguments = len(messages) == 3
    if broken_arguments and not case.name.startswith(("anthropic", "gemini")):
        assert (await case.provider.complete(MODEL, asking(*messages))).text
        return
    with pytest.raises(UnsupportedByModel):
        await case.provider.complete(MODEL, asking(*messages))
    assert case.fake.calls == []


async def test_the_key_travels_where_the_vendor_wants_it(case: Case) -> None:
    await case.provider.complete(MODEL, asking())
    headers = case.fake.calls[0].headers
    place = {"gemini": "x-goog-api-key", "anthropic_2023": "x-api-key"}.get(case.name)
    if case.name.startswith("azure"):
        place = "api-key"
    assert headers[place or "authorization"] == (KEY if place else f"Bearer {KEY}")
    assert [name for name, value in headers.items() if KEY in value] == [place or "authorization"]
    assert KEY not in json.dumps(case.fake.calls[0].query)


async def test_the_environment_changes_nothing(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "GOOGLE_GEMINI_BASE_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "OPENAI_ORG_ID", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.setenv(name, "stray")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Stray: 1")
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "X-Stray: 1")
    provider = open_provider("house", case.vendor.config(case.fake), KEY)
    await streamed(provider, asking())
    await provider.close()
    assert not any("stray" in f"{name}{value}".lower() for name, value in case.fake.calls[0].headers.items())


def _limit(body: dict[str, object]) -> object:
    config = body.get("generationConfig")
    if isinstance(config, dict):
        return config["maxOutputTokens"]
    return body.get("max_tokens") or body.get("max_output_tokens")
