"""Two vendors behind one role: who is asked next, why, and what a history shows of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from fakes.openai_server import FakeOpenAI
from live import Caller, Live, live

from workers.embedded.stack import EmbeddedStack

MODELS = """
[providers.first]
kind = "openai"
base_url = "{first}"
[providers.second]
kind = "openai"
base_url = "{second}"
[[models]]
provider = "first"
name = "one"
[[models]]
provider = "second"
name = "two"
[roles.dialogue_reasoning]
models = ["first/one", "second/two"]
"""


@dataclass
class Vendors:
    """The product with a first and a second vendor."""

    product: Live
    caller: Caller
    first: FakeOpenAI
    second: FakeOpenAI

    async def complete(self, prompt: str = "Who answers?", **body: Any) -> Any:
        return await self.caller.post("/v1/slm/complete", {"prompt": prompt, **body})

    async def summaries(self, request_id: str) -> list[str]:
        """What Temporal's UI shows of the run's activities on the model queue."""
        handle = self.product.temporal.get_workflow_handle(f"slm/{self.caller.tenant}/{request_id}")
        history = await handle.fetch_history()
        converter = self.product.temporal.data_converter
        found: list[str] = []
        for event in history.events:
            if event.HasField("activity_task_scheduled_event_attributes"):
                (summary,) = await converter.decode([event.user_metadata.summary], [str])
                found.append(summary)
        return found


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Live, FakeOpenAI, FakeOpenAI]]:
    """On servers of its own: the workers of other tests, on the shared ones, ask another vendor."""
    home = tmp_path_factory.mktemp("fallback")
    stack = EmbeddedStack(home / "home", durable=False, tied=True)
    await asyncio.to_thread(stack.start)
    try:
        async with FakeOpenAI() as first, FakeOpenAI() as second:
            path = home / "models.toml"
            path.write_text(MODELS.format(first=first.url, second=second.url))
            async with live(stack, models_file=path) as product:
                yield product, first, second
    finally:
        await asyncio.to_thread(stack.stop)


@pytest.fixture
async def vendors(running: tuple[Live, FakeOpenAI, FakeOpenAI]) -> AsyncIterator[Vendors]:
    product, first, second = running
    async with product.caller() as caller:
        yield Vendors(product, caller, first, second)


async def test_a_refused_key_makes_the_second_vendor_answer_and_the_history_says_why(vendors: Vendors) -> None:
    vendors.first.modes.append("unauthorized")
    answer = await vendors.complete()
    assert answer.status_code == 200, answer.text
    view = answer.json()
    assert (view["provider"], view["model"]) == ("second", "two")
    assert await vendors.summaries(view["request_id"]) == [
        "Ask first/one",
        "Ask second/two instead: first/one failed with model-key-refused",
    ]


async def test_a_long_pause_is_spent_on_the_second_vendor(vendors: Vendors) -> None:
    vendors.first.retry_after = "40"
    vendors.first.modes.append("rate_limited")
    view = (await vendors.complete()).json()
    assert (view["provider"], view["attempt"]) == ("second", 1)
    assert view["completed_at"]


async def test_a_short_one_is_waited_for(vendors: Vendors) -> None:
    vendors.first.retry_after = "1"
    vendors.first.modes.append("rate_limited")
    view = (await vendors.complete()).json()
    assert (view["provider"], view["attempt"]) == ("first", 2)


async def test_a_malformed_request_is_not_tried_elsewhere(vendors: Vendors) -> None:
    before = len(vendors.second.calls)
    vendors.first.modes.append("refused")
    answer = await vendors.complete()
    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (502, "model-bad-request")
    assert len(vendors.second.calls) == before


async def test_a_pinned_model_is_asked_alone(vendors: Vendors) -> None:
    before = len(vendors.second.calls)
    vendors.first.modes.append("unauthorized")
    answer = await vendors.complete(model="first/one")
    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (502, "model-key-refused")
    assert len(vendors.second.calls) == before


async def test_a_session_falls_back_too(vendors: Vendors) -> None:
    vendors.first.modes.append("unauthorized")
    started = await vendors.caller.start("Who answers me?")
    assert (started.json()["turn_status"], started.json()["model"]) == ("completed", "two")
