"""Answers that are read while a worker writes them: from a vendor's stream through moderation and Valkey to a reader."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx2
import pytest
from fakes.cutting_proxy import CuttingProxy
from fakes.openai_server import FakeOpenAI
from live import Caller, Live, until
from openai import AsyncOpenAI

from workers.embedded.stack import EmbeddedStack

SENTENCES = " ".join(f"This is sentence number {number} about the harbour." for number in range(12))


class Event(NamedTuple):
    name: str
    data: dict[str, Any]
    id: str | None


class Follower:
    """Follows answers over HTTP."""

    def __init__(self, caller: Caller, url: str) -> None:
        self.caller, self.url = caller, url

    @asynccontextmanager
    async def following(
        self, request_id: str, mark: str | None = None, **parameters: Any
    ) -> AsyncGenerator[AsyncIterator[Event]]:
        """The events of one connection, from after `mark` on."""
        path = f"/v1/slm/requests/{request_id}/stream"
        headers = self.caller.headers | ({"Last-Event-ID": mark} if mark else {})
        async with (
            httpx2.AsyncClient(base_url=self.url, timeout=60, trust_env=False) as http,
            http.stream("GET", path, headers=headers, params=parameters) as response,
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


async def events(response: httpx2.Response) -> AsyncIterator[Event]:
    """Events that arrived whole: one that breaks off before its empty line is none."""
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        else:
            if "data" in fields:
                yield Event(fields["event"], json.loads(fields["data"]), fields.get("id"))
            fields = {}


@pytest.fixture
def follower(product: Live, caller: Caller) -> Follower:
    return Follower(caller, product.url)


async def test_an_answer_arrives_in_spans_and_is_the_recorded_one(follower: Follower, model: FakeOpenAI) -> None:
    with model.held():
        request_id = await follower.queued()
        async with follower.following(request_id) as stream:
            model.release()
            seen = [event async for event in stream]
    texts = [event.data["text"] for event in seen if event.name == "delta"]
    name, end, _ = seen[-1]
    assert (name, end["status"]) == ("end", "completed")
    assert "".join(texts) == end["text"]
    assert len(texts) > 10
    assert [event for event in seen if event.name == "restart"] == []


async def test_a_reader_sees_what_is_there_and_a_retry_begins_anew(follower: Follower, model: FakeOpenAI) -> None:
    before = len(model.calls)
    model.modes.append("drip")
    request_id = await follower.queued()
    async with asyncio.timeout(40), follower.following(request_id) as stream:
        name, data, _ = await anext(stream)
        assert (name, data["text"]) == ("delta", "You asked: This is sentence number 0 about the harbour.")
        assert (await follower.view(request_id))["status"] in ("pending", "running")
        # The vendor breaks off, and is asked again.
        model.release()
        text, restarts = data["text"], 0
        async for name, data, _ in stream:
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
            assert (await anext(stream)).name == "delta"

    async def cancelled() -> bool:
        return (await follower.view(goes))["status"] == "cancelled"

    await until(cancelled)
    assert (await follower.view(stays))["status"] in ("pending", "running")
    model.release()

    async def completed() -> bool:
        return (await follower.view(stays))["status"] == "completed"

    await until(completed)
    model.reset()


async def test_a_reader_behind_a_network_that_breaks_gets_every_character_once(
    product: Live, follower: Follower, model: FakeOpenAI
) -> None:
    dice = random.Random(20261125)
    with model.held():
        request_id = await follower.queued()
        async with CuttingProxy(urlsplit(product.url).port or 0, iter([dice.randint(500, 1100) for _ in range(12)])) as proxy:
            follower.url = f"http://127.0.0.1:{proxy.port}"
            release = asyncio.get_running_loop().call_later(1, model.release)
            text, mark, end = "", None, None
            async with asyncio.timeout(60):
                while end is None:
                    with contextlib.suppress(httpx2.HTTPError):
                        async with follower.following(request_id, mark) as stream:
                            async for event in stream:
                                mark = event.id or mark
                                if event.name == "delta":
                                    text += event.data["text"]
                                elif event.name == "end":
                                    end = event.data
            release.cancel()
    assert proxy.cut >= 10
    assert end["status"] == "completed"
    assert text == end["text"] == (await follower.view(request_id))["text"]


async def test_what_moderation_cuts_off_ends_with_its_reason_and_counts_as_paid(
    product: Live, caller: Caller, model: FakeOpenAI
) -> None:
    begun = " ".join(f"This is sentence number {number}." for number in range(40))
    client = AsyncOpenAI(base_url=f"{product.url}/v1", api_key=caller.headers["Authorization"].removeprefix("Bearer "))
    said = f"{begun} Here is how to build a pipe bomb at home, step by step. {begun[:300]}"
    model.reset()
    model.modes.append("paused")
    with model.saying(said):
        async with client:
            stream = await client.chat.completions.create(
                model="dialogue_reasoning", messages=[{"role": "user", "content": "What do you know?"}], stream=True
            )
            choices = [(await anext(stream)).choices[0] for _ in range(2)]
            model.release()
            choices += [chunk.choices[0] async for chunk in stream]
    model.reset()
    text = "".join(choice.delta.content or "" for choice in choices)
    assert text
    assert begun.startswith(text.rstrip())
    assert [choice.finish_reason for choice in choices if choice.finish_reason] == ["content_filter"]
    (told,) = (await caller.get("/v1/events?topic=slm.metrics")).json()["events"]
    ended = [told["data"][name] for name in ("outcome", "error_type", "settlement")]
    assert ended == ["failed", "model-content-filtered", "unknown"]


async def test_emptied_while_it_is_written_the_reader_still_gets_all(
    follower: Follower, model: FakeOpenAI, stack: EmbeddedStack
) -> None:
    """Valkey is killed in mid-stream: what it held is gone, and the attempt that goes on finds nobody to carry it.

    The last test here: for a moment after this, answers are carried by nobody and come when they are whole.
    """
    part = stack.part("valkey")
    model.modes.append("drip")
    request_id = await follower.queued()
    async with asyncio.timeout(60), follower.following(request_id) as stream:
        _, data, _ = await anext(stream)
        await asyncio.to_thread(part.kill9)
        try:
            model.release()
            text = data["text"]
            async for name, data, _ in stream:
                text = "" if name == "restart" else text + data["text"] if name == "delta" else text
        finally:
            await asyncio.to_thread(part.start)
    assert data["status"] == "completed"
    assert text == data["text"]
    model.reset()
