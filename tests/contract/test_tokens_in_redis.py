"""Answers on their way through a real Valkey: in order, bounded, resumable, and never in the writer's way."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from live import until
from redis import asyncio as redis_asyncio

from adapters.redis.connection import PAUSE_SECONDS, RedisConnection
from adapters.redis.token_reads import LOOK_AGAIN_SECONDS, RedisTokenReads
from adapters.redis.token_streams import KEPT_SECONDS, LONGEST, RedisTokenStreams, stream_key
from domain.token_streams import ENDED, START, Place, Reading, StreamRestart, StreamText, TokenPiece
from workers.embedded.stack import EmbeddedStack

TENANT = "demo"


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Ends:
    """A worker's end and a gateway's, each with connections of its own."""

    streams: RedisTokenStreams
    reads: RedisTokenReads
    clock: Clock

    async def write(self, request: str, attempt: int, *texts: str, start: int = 0) -> int:
        """Adds pieces, and gives the place after them."""
        for text in texts:
            await self.streams.append(TENANT, request, attempt, start, text)
            start += len(text)
        return start

    async def read(self, request: str, after: Place = START, wait: float = 10) -> tuple[TokenPiece, ...]:
        return await self.reads.read(TENANT, request, after, wait)

    async def all(self, request: str) -> list[TokenPiece]:
        """Everything, once its last attempt has ended."""
        found: list[TokenPiece] = []
        async with asyncio.timeout(15):
            while not found or not found[-1].ended:
                found += await self.read(request, found[-1].end if found else START)
        return found


@pytest.fixture
async def ends(stack: EmbeddedStack) -> AsyncIterator[Ends]:
    clock = Clock()
    writer, reader = (RedisConnection(stack.environment["REDIS_URL"], "test", clock) for _ in range(2))
    made = Ends(RedisTokenStreams(writer), RedisTokenReads(reader), clock)
    yield made
    await made.streams.aclose()
    await made.reads.aclose()
    await writer.aclose()
    await reader.aclose()


@pytest.fixture
async def valkey(stack: EmbeddedStack) -> AsyncIterator[Any]:
    client: Any = redis_asyncio.Redis.from_url(stack.environment["REDIS_URL"], decode_responses=True)
    yield client
    await client.aclose()


@pytest.fixture
def request_id() -> str:
    return f"slm_{uuid.uuid4().hex}"


async def test_pieces_come_in_order_and_from_any_place(ends: Ends, request_id: str) -> None:
    assert await ends.write(request_id, 1, "Grüße, ", "wörld", "! 🎈", "") == 15
    await ends.streams.end(TENANT, request_id, 1)
    found = await ends.all(request_id)
    assert [(piece.start, piece.text, piece.ended) for piece in found] == [
        (0, "Grüße, ", False),
        (7, "wörld", False),
        (12, "! 🎈", False),
        (0, "", True),
    ]
    assert await ends.read(request_id, Place(1, 7), 0) == tuple(found[1:])
    assert await ends.read(request_id, Place(1, 9), 0) == tuple(found[1:])
    assert await ends.read(request_id, Place(1, ENDED), 0) == ()
    assert await ends.reads.read("other", request_id, START, 0) == ()


async def test_a_reader_is_woken(ends: Ends, request_id: str) -> None:
    """Not by looking again every second."""
    await ends.write(request_id, 1, "first")
    await ends.read(request_id)
    took: list[float] = []
    place = 5
    for _ in range(5):
        reading = asyncio.create_task(ends.read(request_id, Place(1, place)))
        await asyncio.sleep(0.05)
        began = time.monotonic()
        place = await ends.write(request_id, 1, "more", start=place)
        assert [piece.text for piece in await reading] == ["more"]
        took.append(time.monotonic() - began)
    assert sorted(took)[2] < LOOK_AGAIN_SECONDS / 2


async def test_a_later_attempt_takes_over_and_an_earlier_one_adds_nothing(ends: Ends, request_id: str) -> None:
    await ends.write(request_id, 1, "One ")
    await ends.write(request_id, 2, "Un ")
    await ends.write(request_id, 1, "two", start=4)
    await ends.streams.end(TENANT, request_id, 1)
    await ends.streams.aclose()
    # What Valkey refused of the earlier one keeps the later one from nothing.
    await ends.write(request_id, 2, "deux", start=3)
    await ends.streams.end(TENANT, request_id, 2)
    reading = Reading()
    given = [item for piece in await ends.all(request_id) for item in reading.piece(piece)]
    assert [item.text if isinstance(item, StreamText) else "restart" for item in given] == ["One ", "restart", "Un ", "deux"]
    assert isinstance(given[1], StreamRestart)


async def test_a_stream_is_bounded_and_short_lived(ends: Ends, request_id: str, valkey: Any) -> None:
    place = 0
    for _ in range(3):
        place = await ends.write(request_id, 1, *["x"] * (LONGEST // 2), start=place)

        async def sent(upto: int = place) -> bool:
            return bool(await ends.read(request_id, Place(1, upto - 1), 1))

        await until(sent)
    key = stream_key(TENANT, request_id)
    assert LONGEST <= await valkey.xlen(key) < LONGEST * 1.2
    assert 0 < await valkey.ttl(key) <= KEPT_SECONDS
    # Who stands before what was dropped sees that something is missing.
    assert (await ends.read(request_id))[0].start > 0


async def test_the_writer_waits_for_nothing(stack: EmbeddedStack, ends: Ends, request_id: str, valkey: Any) -> None:
    """Not for a Valkey that hangs, and not for a reader: nobody reads here. What waits is bounded."""
    await ends.write(request_id, 1, "before")
    await ends.read(request_id)
    streams = RedisTokenStreams(connection := RedisConnection(stack.environment["REDIS_URL"], "test", ends.clock), waiting=100)
    await valkey.client_pause(3_000)
    began, start = time.monotonic(), 0
    for _ in range(20_000):
        await streams.append(TENANT, request_id, 2, start, "x" * 100)
        start += 100
    assert time.monotonic() - began < 1
    await streams.aclose()
    await connection.aclose()
    assert time.monotonic() - began < 2.9
    await valkey.client_unpause()


async def test_what_waits_to_be_sent_is_bounded(stack: EmbeddedStack, request_id: str, valkey: Any) -> None:
    streams = RedisTokenStreams(connection := RedisConnection(stack.environment["REDIS_URL"], "test"), waiting=100)
    for number in range(1_000):
        await streams.append(TENANT, request_id, 1, number, "x")
    await streams.aclose()
    assert await valkey.xlen(stream_key(TENANT, request_id)) == 100
    await streams.append(TENANT, request_id, 1, 1_000, "x")
    await streams.aclose()
    assert await valkey.xlen(stream_key(TENANT, request_id)) == 101
    await connection.aclose()


async def test_killed_the_writer_goes_on_and_readers_learn_what_is_missing(
    stack: EmbeddedStack, ends: Ends, request_id: str
) -> None:
    part = stack.part("valkey")
    place = await ends.write(request_id, 1, "Before. ")
    (first,) = await ends.read(request_id)
    await asyncio.to_thread(part.kill9)
    try:
        began = time.monotonic()
        place = await ends.write(request_id, 1, "Lost. ", start=place)
        assert await ends.read(request_id, first.end, 0.2) == ()
        assert time.monotonic() - began < 3
    finally:
        await asyncio.to_thread(part.start)
    ends.clock.now += PAUSE_SECONDS
    await ends.write(request_id, 1, "After.", start=place)
    found = await ends.read(request_id, first.end)
    assert [(piece.start, piece.text) for piece in found] == [(14, "After.")]
    reading = Reading()
    assert [item for piece in (first, *found) for item in reading.piece(piece) if isinstance(item, StreamText)][
        -1
    ].text == "Before. "
    assert [item.text for item in reading.rest("Before. Lost. After.") if isinstance(item, StreamText)] == ["Lost. After."]
    # And who waits is woken again.
    waiting = asyncio.create_task(ends.read(request_id, found[0].end))
    await ends.write(request_id, 1, " More.", start=20)
    assert [piece.text for piece in await waiting] == [" More."]


async def test_emptied_in_mid_stream_the_reader_gets_the_rest_from_the_answer(ends: Ends, request_id: str, valkey: Any) -> None:
    reading, texts = Reading(), [f"Sentence {number}. " for number in range(6)]
    place = await ends.write(request_id, 1, *texts[:3])
    while reading.mark.characters < place:
        for piece in await ends.read(request_id, reading.mark.place):
            list(reading.piece(piece))
    place = await ends.write(request_id, 1, texts[3], start=place)
    await ends.read(request_id, reading.mark.place)
    await valkey.flushall()
    await ends.write(request_id, 1, *texts[4:], start=place)
    await ends.streams.end(TENANT, request_id, 1)
    assert [item for piece in await ends.all(request_id) for item in reading.piece(piece)] == []
    assert [item.text for item in reading.rest("".join(texts)) if isinstance(item, StreamText)] == ["".join(texts[3:])]


async def test_without_an_address_nothing_is_carried(request_id: str) -> None:
    away = RedisConnection(None, "test")
    streams, reads = RedisTokenStreams(away), RedisTokenReads(away)
    await streams.append(TENANT, request_id, 1, 0, "x")
    assert await reads.read(TENANT, request_id, START, 0.05) == ()
    await streams.aclose()
    await reads.aclose()


async def test_halves_of_a_character_do_no_harm(ends: Ends, request_id: str) -> None:
    await ends.write(request_id, 1, "a\ud83d", "b")
    await ends.streams.end(TENANT, request_id, 1)
    assert [piece.text for piece in await ends.all(request_id)] == ["a?", "b", ""]
