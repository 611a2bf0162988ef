"""The fake vendor speaks the protocol: the vendor's own client reads its answers and its errors."""

from __future__ import annotations

import openai
import pytest
from fakes.openai_server import FakeOpenAI


async def test_the_vendors_client_reads_an_answer_and_the_models() -> None:
    async with FakeOpenAI(api_key="k") as fake, openai.AsyncOpenAI(base_url=fake.url, api_key="k", max_retries=0) as client:
        messages: list[openai.types.chat.ChatCompletionUserMessageParam] = [{"role": "user", "content": "two words"}]
        answer = await client.chat.completions.create(model="m", messages=messages, max_tokens=5)
        assert answer.choices[0].message.content == "You asked: two words I was given 0 characters to read."
        assert answer.usage is not None
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (2, 11)
        assert [model.id async for model in client.models.list()] == ["fake-model"]
    assert fake.calls[0].body["max_tokens"] == 5


@pytest.mark.parametrize(
    ("mode", "error"),
    [
        ("rate_limited", openai.RateLimitError),
        ("quota", openai.RateLimitError),
        ("error", openai.InternalServerError),
        ("unavailable", openai.InternalServerError),
        ("unauthorized", openai.AuthenticationError),
        ("modern", openai.BadRequestError),
        ("truncated", openai.APIConnectionError),
    ],
)
async def test_the_vendors_client_reads_each_error(mode: str, error: type[openai.APIError]) -> None:
    async with FakeOpenAI(mode=mode) as fake, openai.AsyncOpenAI(base_url=fake.url, api_key="k", max_retries=0) as client:
        with pytest.raises(error):
            await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}], max_tokens=5)


async def test_the_vendors_client_retries_and_reaches_the_answer() -> None:
    async with FakeOpenAI(retry_after="0") as fake, openai.AsyncOpenAI(base_url=fake.url, api_key="k", max_retries=2) as client:
        fake.modes.extend(["rate_limited", "error"])
        await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
        assert len(fake.calls) == 3


def client(fake: FakeOpenAI) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=fake.url, api_key="k", max_retries=0)


ASK: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "two words"}]
TOOL: openai.types.chat.ChatCompletionToolParam = {
    "type": "function",
    "function": {"name": "look_up", "description": "Looks up.", "parameters": {"type": "object", "properties": {}}},
}


async def test_the_vendors_client_reads_a_stream_with_its_usage() -> None:
    async with FakeOpenAI() as fake, client(fake) as vendor:
        stream = await vendor.chat.completions.create(
            model="m", messages=ASK, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        texts = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
        assert "".join(texts) == "You asked: two words I was given 0 characters to read."
        assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == "stop"
        assert chunks[-1].usage is not None
        assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (2, 11)
        async with vendor.chat.completions.stream(model="m", messages=ASK, tools=[TOOL]) as events:
            final = await events.get_final_completion()
        assert final.choices[0].finish_reason == "tool_calls"
        called = final.choices[0].message.tool_calls
        assert called is not None
        assert [call.function.arguments for call in called] == ['{"question":"two words"}']


async def test_the_vendors_client_calls_tools_gets_json_and_vectors() -> None:
    schema: dict[str, object] = {"type": "object", "properties": {"city": {"type": "string"}}}
    async with FakeOpenAI() as fake, client(fake) as vendor:
        said = (await vendor.chat.completions.create(model="m", messages=ASK, tools=[TOOL])).choices[0]
        assert said.finish_reason == "tool_calls"
        assert said.message.tool_calls is not None
        result: openai.types.chat.ChatCompletionToolMessageParam = {
            "role": "tool",
            "tool_call_id": said.message.tool_calls[0].id,
            "content": "found",
        }
        then = await vendor.chat.completions.create(model="m", messages=[*ASK, result], tools=[TOOL])
        assert then.choices[0].message.content == "The tool said: found"
        told = await vendor.chat.completions.create(
            model="m",
            messages=ASK,
            response_format={"type": "json_schema", "json_schema": {"name": "place", "schema": schema}},
        )
        assert told.choices[0].message.content == '{"city": "text"}'
        vectors = await vendor.embeddings.create(model="m", input=["one", "another"], dimensions=6, encoding_format="float")
        assert [(item.index, len(item.embedding)) for item in sorted(vectors.data, key=lambda item: item.index)] == [
            (0, 6),
            (1, 6),
        ]


async def test_the_vendors_client_reads_responses_whole_and_streamed() -> None:
    tool: openai.types.responses.FunctionToolParam = {
        "type": "function",
        "name": "look_up",
        "parameters": {"type": "object", "properties": {}},
        "strict": False,
    }
    async with FakeOpenAI() as fake, client(fake) as vendor:
        answer = await vendor.responses.create(model="m", input="two words", max_output_tokens=50)
        assert answer.output_text == "You asked: two words I was given 0 characters to read."
        assert answer.usage is not None
        assert (answer.status, answer.usage.input_tokens, answer.usage.output_tokens) == ("completed", 2, 11)
        async with vendor.responses.stream(model="m", input="two words") as stream:
            deltas = [event.delta async for event in stream if event.type == "response.output_text.delta"]
            final = await stream.get_final_response()
        assert "".join(deltas) == answer.output_text == final.output_text
        called = await vendor.responses.create(model="m", input="two words", tools=[tool])
        *_, last = [event async for event in await vendor.responses.create(model="m", input="x", tools=[tool], stream=True)]
        assert last.type == "response.completed"
        for response in (called, last.response):
            assert [item.name for item in response.output if item.type == "function_call"] == ["look_up"]
        fake.mode = "length"
        cut = await vendor.responses.create(model="m", input="x")
        assert cut.incomplete_details is not None
        assert (cut.status, cut.incomplete_details.reason) == ("incomplete", "max_output_tokens")


async def test_the_vendors_client_for_azure_finds_its_paths() -> None:
    async with FakeOpenAI(api_key="k") as fake:
        async with openai.AsyncAzureOpenAI(
            azure_endpoint=fake.azure_url, api_key="k", api_version="2024-10-21", max_retries=0
        ) as vendor:
            answer = await vendor.chat.completions.create(model="my-deployment", messages=ASK)
            assert (answer.model, fake.calls[0].path, fake.calls[0].query) == (
                "my-deployment",
                "/openai/deployments/my-deployment/chat/completions",
                {"api-version": "2024-10-21"},
            )
        async with openai.AsyncOpenAI(base_url=f"{fake.azure_url}/openai/v1", api_key="k", max_retries=0) as vendor:
            await vendor.chat.completions.create(model="my-deployment", messages=ASK)
            assert fake.calls[1].path == "/openai/v1/chat/completions"
