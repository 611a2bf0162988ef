"""The fake of Anthropic speaks its protocol: the vendor's own client reads its answers, its streams and its errors."""

from __future__ import annotations

import anthropic
import pytest
from anthropic.types import MessageParam, ToolParam
from fakes.anthropic_server import FakeAnthropic

ASK: list[MessageParam] = [{"role": "user", "content": "two words"}]
TOOL: ToolParam = {"name": "look_up", "description": "Looks up.", "input_schema": {"type": "object"}}


def client(fake: FakeAnthropic) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=fake.url, api_key="k", max_retries=0, open_telemetry=False)


async def test_the_vendors_client_reads_an_answer_and_a_stream() -> None:
    async with FakeAnthropic(api_key="k") as fake, client(fake) as vendor:
        answer = await vendor.messages.create(model="m", max_tokens=50, messages=ASK)
        said = [block.text for block in answer.content if block.type == "text"]
        assert said == ["You asked: two words I was given 0 characters to read."]
        assert (answer.stop_reason, answer.usage.input_tokens, answer.usage.output_tokens) == ("end_turn", 1, 11)
        assert answer.usage.cache_read_input_tokens == 1
        async with vendor.messages.stream(model="m", max_tokens=50, messages=ASK) as stream:
            texts = [text async for text in stream.text_stream]
            final = await stream.get_final_message()
        assert len(texts) > 3
        assert "".join(texts) == said[0]
        assert (final.stop_reason, final.usage.output_tokens) == ("end_turn", 11)


async def test_the_vendors_client_calls_tools_whole_and_streamed() -> None:
    async with FakeAnthropic() as fake, client(fake) as vendor:
        answer = await vendor.messages.create(model="m", max_tokens=50, messages=ASK, tools=[TOOL])
        async with vendor.messages.stream(model="m", max_tokens=50, messages=ASK, tools=[TOOL]) as stream:
            streamed = await stream.get_final_message()
        for message in (answer, streamed):
            (used,) = (block for block in message.content if block.type == "tool_use")
            assert (used.name, used.input, message.stop_reason) == ("look_up", {"question": "two words"}, "tool_use")
        then: list[MessageParam] = [
            *ASK,
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look_up", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "found"}]},
        ]
        answer = await vendor.messages.create(model="m", max_tokens=50, messages=then, tools=[TOOL])
        assert [block.text for block in answer.content if block.type == "text"] == ["The tool said: found"]
        with pytest.raises(anthropic.BadRequestError):
            await vendor.messages.create(model="m", max_tokens=50, messages=then[:2], tools=[TOOL])


async def test_the_vendors_client_gets_json_of_a_schema() -> None:
    schema: dict[str, object] = {"type": "object", "properties": {"city": {"type": "string"}}}
    async with FakeAnthropic() as fake, client(fake) as vendor:
        answer = await vendor.messages.create(
            model="m", max_tokens=50, messages=ASK, output_config={"format": {"type": "json_schema", "schema": schema}}
        )
    assert [block.text for block in answer.content if block.type == "text"] == ['{"city": "text"}']


@pytest.mark.parametrize(
    ("mode", "error"),
    [
        ("rate_limited", anthropic.RateLimitError),
        ("error", anthropic.InternalServerError),
        ("overloaded", anthropic.APIStatusError),
        ("unavailable", anthropic.InternalServerError),
        ("unauthorized", anthropic.AuthenticationError),
        ("forbidden", anthropic.PermissionDeniedError),
        ("quota", anthropic.APIStatusError),
        ("unknown_model", anthropic.NotFoundError),
        ("too_long", anthropic.BadRequestError),
        ("truncated", anthropic.APIConnectionError),
    ],
)
async def test_the_vendors_client_reads_each_error(mode: str, error: type[anthropic.APIError]) -> None:
    async with FakeAnthropic(mode=mode) as fake, client(fake) as vendor:
        with pytest.raises(error) as caught:
            await vendor.messages.create(model="m", max_tokens=50, messages=ASK)
    if mode in ("overloaded", "quota"):
        assert isinstance(caught.value, anthropic.APIStatusError)
        assert caught.value.status_code == {"overloaded": 529, "quota": 402}[mode]


async def test_the_vendors_client_reads_an_error_within_a_stream() -> None:
    async with FakeAnthropic(mode="midway_error") as fake, client(fake) as vendor:
        with pytest.raises(anthropic.APIStatusError):
            async with vendor.messages.stream(model="m", max_tokens=50, messages=ASK) as stream:
                await stream.get_final_message()


async def test_the_new_version_takes_no_temperature() -> None:
    async with FakeAnthropic() as fake, client(fake) as vendor:
        with pytest.raises(anthropic.BadRequestError):
            await vendor.messages.create(model="m", max_tokens=50, messages=ASK, extra_body={"temperature": 0.5})
        old = {"anthropic-version": "2023-06-01"}
        await vendor.messages.create(model="m", max_tokens=50, messages=ASK, extra_body={"temperature": 0.5}, extra_headers=old)
