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
