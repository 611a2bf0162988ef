"""The fake of Gemini speaks its protocol: the vendor's own client reads its answers, its streams and its errors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from fakes.gemini_server import FakeGemini
from fakes.vendor_server import Mode
from google import genai
from google.genai import errors, types

TOOL = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="look_up", description="Looks up.", parameters_json_schema={"type": "object", "properties": {}}
        )
    ]
)


@asynccontextmanager
async def client(fake: FakeGemini) -> AsyncIterator[genai.client.AsyncClient]:
    async with httpx2.AsyncClient(trust_env=False) as http:
        options = types.HttpOptions(base_url=fake.url, httpx_async_client=http, httpx_client=httpx2.Client(trust_env=False))
        vendor = genai.Client(api_key="k", vertexai=False, http_options=options)
        try:
            yield vendor.aio
        finally:
            vendor.close()


async def test_the_vendors_client_reads_an_answer_and_a_stream() -> None:
    async with FakeGemini(api_key="k") as fake, client(fake) as vendor:
        answer = await vendor.models.generate_content(model="m", contents="two words")
        assert answer.text == "You asked: two words I was given 0 characters to read."
        used = answer.usage_metadata
        assert used is not None
        assert (used.prompt_token_count, used.candidates_token_count, used.thoughts_token_count) == (2, 10, 1)
        stream = await vendor.models.generate_content_stream(model="m", contents="two words")
        chunks = [chunk async for chunk in stream]
        assert len(chunks) > 3
        assert "".join(chunk.text or "" for chunk in chunks) == answer.text
        last = chunks[-1].candidates
        assert last is not None
        assert last[0].finish_reason is types.FinishReason.STOP


async def test_the_vendors_client_calls_tools_and_hands_results_in() -> None:
    config = types.GenerateContentConfig(tools=[TOOL], system_instruction="Be brief.", max_output_tokens=50)
    async with FakeGemini() as fake, client(fake) as vendor:
        answer = await vendor.models.generate_content(model="m", contents="two words", config=config)
        calls = answer.function_calls
        assert calls is not None
        assert [(call.name, call.args) for call in calls] == [("look_up", {"question": "two words"})]
        called = types.Part(function_call=calls[0], thought_signature=b"signature")
        result = types.Part.from_function_response(name="look_up", response={"output": "found"})
        contents: list[types.ContentUnionDict] = [
            types.Content(role="user", parts=[types.Part(text="two words")]),
            types.Content(role="model", parts=[called]),
            types.Content(role="user", parts=[result]),
        ]
        answer = await vendor.models.generate_content(model="m", contents=contents, config=config)
        assert answer.text == "The tool said: found"
    sent = fake.calls[0].body
    assert sent["systemInstruction"]["parts"] == [{"text": "Be brief."}]
    assert sent["generationConfig"]["maxOutputTokens"] == 50
    # Google reads members in either spelling; its client writes this one so.
    assert sent["tools"][0]["functionDeclarations"][0]["parameters_json_schema"]["type"] == "object"


async def test_the_vendors_client_gets_json_and_shows_images() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    config = types.GenerateContentConfig(response_mime_type="application/json", response_json_schema=schema)
    async with FakeGemini() as fake, client(fake) as vendor:
        assert (await vendor.models.generate_content(model="m", contents="x", config=config)).text == '{"city": "text"}'
        image = types.Part.from_bytes(data=b"\x89PNG", mime_type="image/png")
        seen = await vendor.models.generate_content(model="m", contents=[types.Part(text="x"), image])
        assert (seen.text or "").endswith("I saw 1 images.")


async def test_the_vendors_client_gets_vectors() -> None:
    config = types.EmbedContentConfig(output_dimensionality=6)
    async with FakeGemini() as fake, client(fake) as vendor:
        answer = await vendor.models.embed_content(model="m", contents=["one", "another"], config=config)
        assert answer.embeddings is not None
        assert [len(embedding.values or ()) for embedding in answer.embeddings] == [6, 6]


async def test_a_filtered_prompt_and_a_filtered_answer() -> None:
    async with FakeGemini(mode="refused_content") as fake, client(fake) as vendor:
        answer = await vendor.models.generate_content(model="m", contents="x")
        assert answer.prompt_feedback is not None
        assert answer.prompt_feedback.block_reason is types.BlockedReason.PROHIBITED_CONTENT
        fake.mode = "filtered"
        answer = await vendor.models.generate_content(model="m", contents="x")
        assert answer.candidates is not None
        assert answer.candidates[0].finish_reason is types.FinishReason.SAFETY


@pytest.mark.parametrize(
    ("mode", "status"),
    [
        ("rate_limited", 429),
        ("error", 500),
        ("overloaded", 503),
        ("unauthorized", 400),
        ("forbidden", 403),
        ("unknown_model", 404),
        ("too_long", 400),
    ],
)
async def test_the_vendors_client_reads_each_error(mode: Mode, status: int) -> None:
    async with FakeGemini(mode=mode) as fake, client(fake) as vendor:
        with pytest.raises(errors.APIError) as caught:
            await vendor.models.generate_content(model="m", contents="x")
    assert caught.value.code == status
