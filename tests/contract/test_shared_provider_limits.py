"""Limits of providers in a real Valkey: shared by all workers, fair to the lanes above, kept when it is killed or emptied."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from live import until
from redis import asyncio as redis_asyncio

from adapters.redis.connection import RedisConnection
from adapters.redis.provider_limits import SPREAD_SECONDS, RedisProviderLimits
from domain.names import Lane
from workers.embedded.stack import EmbeddedStack

RATE = 20.0


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def processes(stack: EmbeddedStack) -> AsyncIterator[list[RedisProviderLimits]]:
    """Two workers."""
    connections = [RedisConnection(stack.environment["REDIS_URL"], "test") for _ in range(2)]
    yield [RedisProviderLimits(made) for made in connections]
    for connection in connections:
        await connection.aclose()


async def taken(limits: RedisProviderLimits, provider: str, lane: Lane, times: int, rate: float = RATE) -> int:
    """How many of so many tries at once were let through."""
    waits = await asyncio.gather(*(limits.take(provider, rate, lane) for _ in range(times)))
    return sum(wait == 0 for wait in waits)


async def call_on(limits: RedisProviderLimits, provider: str, lane: Lane, sent: list[float]) -> None:
    """A worker's slot: takes its turn again and again, for as long as it is let."""
    while True:
        wait = await limits.take(provider, RATE, lane)
        if wait == 0:
            sent.append(time.monotonic())
        else:
            await asyncio.sleep(wait)


async def test_all_workers_together_keep_to_the_limit(processes: list[RedisProviderLimits]) -> None:
    provider, sent, began = uuid.uuid4().hex, list[float](), time.monotonic()
    slots = [asyncio.create_task(call_on(processes[n % 2], provider, Lane.BATCH, sent)) for n in range(40)]
    await asyncio.sleep(3)
    for slot in slots:
        slot.cancel()
    await asyncio.gather(*slots, return_exceptions=True)
    assert all(number <= RATE / 2 + (at - began) * RATE for number, at in enumerate(sent, 1))
    # And use it: what the reserve holds back at the start is all that is missing.
    assert len(sent) >= 0.85 * (RATE * 3 + RATE / 2)


async def test_a_flood_of_batch_calls_leaves_interactive_ones_alone(processes: list[RedisProviderLimits]) -> None:
    provider, sent = uuid.uuid4().hex, list[float]()
    slots = [asyncio.create_task(call_on(processes[n % 2], provider, Lane.BATCH, sent)) for n in range(200)]
    waits: list[float] = []
    for number in range(25):
        await asyncio.sleep(0.1)
        waits.append(await processes[number % 2].take(provider, RATE, Lane.INTERACTIVE))
    for slot in slots:
        slot.cancel()
    await asyncio.gather(*slots, return_exceptions=True)
    assert waits == [0.0] * 25
    assert sent


async def test_lower_lanes_leave_the_reserve(processes: list[RedisProviderLimits]) -> None:
    first, second = processes
    provider, began = uuid.uuid4().hex, time.monotonic()
    lower = await taken(first, provider, Lane.BATCH, 40, 40.0) + await taken(second, provider, Lane.BACKGROUND, 40, 40.0)
    assert 20 <= lower <= 20 + 40 * (time.monotonic() - began)
    upper = await taken(second, provider, Lane.PROJECT, 100, 40.0)
    assert 20 <= upper <= 40 - lower + 40 * (time.monotonic() - began)


async def test_who_waits_is_spread_and_providers_are_apart(processes: list[RedisProviderLimits]) -> None:
    provider = uuid.uuid4().hex
    while (first := await processes[0].take(provider, 2.0, Lane.INTERACTIVE)) == 0:
        pass
    waits = [first, *[await processes[0].take(provider, 2.0, Lane.INTERACTIVE) for _ in range(4)]]
    assert all(0 < wait <= 0.5 + SPREAD_SECONDS for wait in waits)
    # The next but one comes a token's time after the next.
    assert max(waits) - min(waits) > 0.3
    assert await processes[1].take(uuid.uuid4().hex, 1.0, Lane.BATCH) == 0


async def test_an_interactive_call_that_waits_comes_before_a_batch_call(processes: list[RedisProviderLimits]) -> None:
    """Where the limit has no room for a reserve."""
    provider = uuid.uuid4().hex
    assert await processes[0].take(provider, 1.0, Lane.BATCH) == 0
    told = time.monotonic() + await processes[0].take(provider, 1.0, Lane.INTERACTIVE)

    async def there() -> bool:
        assert await processes[1].take(provider, 1.0, Lane.BATCH) > 0
        return time.monotonic() >= told

    await until(there, every=0.02)
    assert await processes[0].take(provider, 1.0, Lane.INTERACTIVE) == 0


async def test_killed_each_worker_keeps_to_the_limit_by_itself(stack: EmbeddedStack) -> None:
    clock, part, provider = Clock(), stack.part("valkey"), uuid.uuid4().hex
    connections = [RedisConnection(stack.environment["REDIS_URL"], "test", clock) for _ in range(2)]
    first, second = (RedisProviderLimits(made, clock) for made in connections)
    assert await taken(first, provider, Lane.INTERACTIVE, 5, 4.0) == 4
    await asyncio.to_thread(part.kill9)
    try:
        assert await taken(first, provider, Lane.BATCH, 6, 4.0) == 2
        assert await taken(first, provider, Lane.INTERACTIVE, 6, 4.0) == 2
        assert await taken(second, provider, Lane.INTERACTIVE, 6, 4.0) == 4
        clock.now += 0.25
        assert await taken(first, provider, Lane.INTERACTIVE, 2, 4.0) == 1
    finally:
        await asyncio.to_thread(part.start)
    clock.now += 5.1
    fresh = uuid.uuid4().hex
    assert await taken(first, fresh, Lane.INTERACTIVE, 2, 0.1) == 1
    assert await taken(second, fresh, Lane.INTERACTIVE, 2, 0.1) == 0
    for connection in connections:
        await connection.aclose()


async def test_emptied_the_bucket_is_full_once_more(stack: EmbeddedStack, processes: list[RedisProviderLimits]) -> None:
    provider = uuid.uuid4().hex
    client: Any = redis_asyncio.Redis.from_url(stack.environment["REDIS_URL"])
    assert await taken(processes[0], provider, Lane.BATCH, 3, 0.1) == 1
    assert 0 < await client.pttl(f"system:provider-limit:{provider}") < 15_000
    await client.flushall()
    assert await taken(processes[0], provider, Lane.BATCH, 3, 0.1) == 1
    await client.aclose()
