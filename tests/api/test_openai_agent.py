"""An agent framework that speaks OpenAI's protocol, unmodified, against the gateway: its loop calls a tool and goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from fakes.openai_server import FakeOpenAI
from live import Caller, Live
from openai import AsyncOpenAI
from openai_client import MODEL, client_of, key_of, openai_product
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.messages import ToolReturnPart
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

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


@pytest.fixture(params=[OpenAIChatModel, OpenAIResponsesModel])
def model(request: pytest.FixtureRequest, client: AsyncOpenAI) -> Any:
    return request.param(MODEL, provider=OpenAIProvider(openai_client=client))


def agent_of(model: Any, asked: list[str]) -> Agent:
    """An agent with a tool that notes what it was asked."""
    agent = Agent(model, instructions="Use your tools.")

    @agent.tool_plain
    def weather(question: str) -> str:
        """Tells the weather."""
        asked.append(question)
        return "Rain."

    return agent


async def test_an_agent_loops_over_its_tool(model: Any, caller: Caller) -> None:
    asked: list[str] = []
    result = await agent_of(model, asked).run("What is the weather?")
    assert result.output == "The tool said: Rain."
    assert asked == ["What is the weather?"]
    assert result.usage.requests == 2
    assert result.usage.total_tokens > 0
    assert any(isinstance(part, ToolReturnPart) for message in result.all_messages() for part in message.parts)
    again = await agent_of(model, asked).run("And now?", message_history=result.all_messages())
    assert again.output == "The tool said: Rain."
    kept = (await caller.get("/v1/slm/requests")).json()["requests"]
    assert [request["status"] for request in kept] == ["completed"] * 4


async def test_an_agent_reads_a_stream(model: Any) -> None:
    asked: list[str] = []
    async with agent_of(model, asked).run_stream("What is the weather?") as result:
        pieces = [piece async for piece in result.stream_text(delta=True)]
    assert "".join(pieces) == "The tool said: Rain."
    assert asked == ["What is the weather?"]


class City(BaseModel):
    """A shape to answer in."""

    name: str
    inhabitants: int


async def test_an_agent_gets_an_answer_in_a_shape(model: Any) -> None:
    from pydantic_ai import NativeOutput

    result = await Agent(model, output_type=NativeOutput(City)).run("Which city?")
    assert result.output == City(name="text", inhabitants=1)
