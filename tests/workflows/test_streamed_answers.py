"""Answers that are read while a worker writes them: from a vendor's stream through moderation and Valkey to a reader."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from fakes.openai_server import FakeOpenAI
from live import Caller, Live, until

from workers.embedded.stack import EmbeddedStack

SENTENCES = " ".join(f"This is sentence number {number} about the harbour." for number in range(12))


class Follower:
    """Follows answers over HTTP."""

    def __init__(self, caller: Caller, url: str) -> None:
        self.caller, self.url = caller, url

    @asynccontextmanager
    async def following(self, request_id: str, **parameters: Any) -> AsyncGenerator[AsyncIterator[tuple[str, dict[str, Any]]]]:
        """The events of one connection."""
        path = f"/v1/slm/requests/{request_id}/stream"
        async with (
            httpx2.AsyncClient(base_url=self.url, timeout=60, trust_env=False) as http,
            http.stream("GET", path, headers=self.caller.headers, params=parameters) as response,
        ):
            assert response.status_code == 200
            yield events(response)

    async def queued(self, **body: Any) -> str:
        asked = {"prompt": SENTENCES, "stream": True, **body}
        answer = await self.caller.post("/v1/slm/requests", asked)
        assert answer.status_code == 202, answer.text
        return answer.json()["request_id"]

    async def view(self, request_id: str) -> dict[str, Any]:
        return (await self.caller.get(f"/v1/slm/requests/{request_id}")).json()


async def events(response: httpx2.Response) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    name = ""
    async for line in response.aiter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


@pytest.fixture
def follower(product: Live, caller: Caller) -> Follower:
    return Follower(caller, product.url)


async def test_an_answer_arrives_in_spans_and_is_the_recorded_one(follower: Follower, model: FakeOpenAI) -> None:
    with model.held():
        request_id = await follower.queued()
        async with follower.following(request_id) as stream:
            model.release()
            seen = [event async for event in stream]
    texts = [data["text"] for name, data in seen if name == "delta"]
    name, end = seen[-1]
    assert (name, end["status"]) == ("end", "completed")
    assert "".join(texts) == end["text"]
    assert len(texts) > 10
    assert [name for name, _ in seen if name == "restart"] == []


async def test_a_reader_sees_what_is_there_and_a_retry_begins_anew(follower: Follower, model: FakeOpenAI) -> None:
    before = len(model.calls)
    model.modes.append("drip")
    request_id = await follower.queued()
    async with asyncio.timeout(40), follower.following(request_id) as stream:
        name, data = await anext(stream)
        assert (name, data["text"]) == ("delta", "You asked: This is sentence number 0 about the harbour.")
        assert (await follower.view(request_id))["status"] in ("pending", "running")
        # The vendor breaks off, and is asked again.
        model.release()
        text, restarts = data["text"], 0
        async for name, data in stream:
            if name == "restart":
                text, restarts = "", restarts + 1
            elif name == "delta":
                text += data["text"]
    assert data["status"] == "completed"
    assert (text, restarts) == (data["text"], 1)
    assert len(model.calls) == before + 2
    model.reset()


async def test_a_reader_that_goes_away_stops_nothing_unless_it_asked_for_that(follower: Follower, model: FakeOpenAI) -> None:
    model.modes.extend(["drip", "drip"])
    stays, goes = await follower.queued(), await follower.queued()
    for request_id, parameters in ((stays, {}), (goes, {"cancel_on_disconnect": "true"})):
        async with asyncio.timeout(20), follower.following(request_id, **parameters) as stream:
            assert (await anext(stream))[0] == "delta"

    async def cancelled() -> bool:
        return (await follower.view(goes))["status"] == "cancelled"

    await until(cancelled)
    assert (await follower.view(stays))["status"] in ("pending", "running")
    model.release()

    async def completed() -> bool:
        return (await follower.view(stays))["status"] == "completed"

    await until(completed)
    model.reset()


async def test_emptied_while_it_is_written_the_reader_still_gets_all(
    follower: Follower, model: FakeOpenAI, stack: EmbeddedStack
) -> None:
    """Valkey is killed in mid-stream: what it held is gone, and the attempt that goes on finds nobody to carry it."""
    part = stack.part("valkey")
    model.modes.append("drip")
    request_id = await follower.queued()
    async with asyncio.timeout(60), follower.following(request_id) as stream:
        _, data = await anext(stream)
        await asyncio.to_thread(part.kill9)
        try:
            model.release()
            text = data["text"]
            async for name, data in stream:
                text = "" if name == "restart" else text + data["text"] if name == "delta" else text
        finally:
            await asyncio.to_thread(part.start)
    assert data["status"] == "completed"
    assert text == data["text"]
    model.reset()
