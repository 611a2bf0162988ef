"""Circuit breakers in a real Valkey: shared by all processes, still there when it is killed, and right when it is emptied."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from live import until
from redis import asyncio as redis_asyncio

from adapters.redis.breakers import RedisBreakers
from adapters.redis.connection import RedisConnection
from domain.breaker import BreakerRule
from domain.ports.models import BreakerState
from workers.embedded.stack import EmbeddedStack

RULE = BreakerRule(failures=3, pause=1.0, longest_pause=2.0, probe=1.0)
CLOSED, OPEN, PROBE = BreakerState(open=False), BreakerState(open=True), BreakerState(open=True, probe=True)


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def processes(stack: EmbeddedStack, clock: Clock) -> AsyncIterator[list[RedisBreakers]]:
    """Two processes of one region and one of another."""
    connections = [RedisConnection(stack.environment["REDIS_URL"], "test", clock) for _ in range(3)]
    regions = ("here", "here", "there")
    yield [RedisBreakers(made, region, RULE, clock) for made, region in zip(connections, regions, strict=True)]
    for connection in connections:
        await connection.aclose()


@pytest.fixture
async def valkey(stack: EmbeddedStack) -> AsyncIterator[Any]:
    client: Any = redis_asyncio.Redis.from_url(stack.environment["REDIS_URL"], decode_responses=True)
    yield client
    await client.aclose()


async def fail(breakers: RedisBreakers, provider: str, times: int = RULE.failures) -> None:
    for _ in range(times):
        await breakers.failed(provider)


async def probe(breakers: RedisBreakers, provider: str) -> None:
    """Waits until a probe is given, which takes as long as the pause lasts."""

    async def given() -> bool:
        return await breakers.state(provider) == PROBE

    await until(given)


async def test_processes_of_a_region_share_a_circuit(processes: list[RedisBreakers]) -> None:
    first, second, elsewhere = processes
    provider = uuid.uuid4().hex
    assert await first.state(provider) == CLOSED
    await fail(first, provider, 2)
    assert await second.state(provider) == CLOSED
    await second.failed(provider)
    assert await first.state(provider) == await second.state(provider) == OPEN
    assert await first.is_open(provider)
    assert await elsewhere.state(provider) == CLOSED
    assert not await elsewhere.is_open(provider)


async def test_one_of_many_probes_and_its_success_closes(processes: list[RedisBreakers]) -> None:
    first, second, _ = processes
    provider = uuid.uuid4().hex
    await fail(first, provider)

    async def paused_enough() -> bool:
        return not await second.is_open(provider)

    await until(paused_enough)
    states = await asyncio.gather(*((first, second)[number % 2].state(provider) for number in range(20)))
    assert sorted(state.probe for state in states) == [False] * 19 + [True]
    assert all(state.open for state in states)
    assert await first.is_open(provider)
    await first.succeeded(provider)
    assert await second.state(provider) == CLOSED


async def test_a_failed_probe_reopens_and_a_lost_one_is_made_good(processes: list[RedisBreakers]) -> None:
    first, second, _ = processes
    provider = uuid.uuid4().hex
    await fail(first, provider)
    await probe(first, provider)
    await first.failed(provider)
    assert await second.state(provider) == OPEN
    await probe(second, provider)
    # Nothing is heard of that one.
    await probe(first, provider)


async def test_failures_at_once_are_counted(processes: list[RedisBreakers]) -> None:
    provider = uuid.uuid4().hex
    await asyncio.gather(*(processes[number % 2].failed(provider) for number in range(20)))
    assert await processes[0].state(provider) == OPEN


async def test_killed_each_process_breaks_for_itself_and_later_together(
    stack: EmbeddedStack, processes: list[RedisBreakers], clock: Clock
) -> None:
    first, second, _ = processes
    provider, part = uuid.uuid4().hex, stack.part("valkey")
    await asyncio.to_thread(part.kill9)
    try:
        await fail(first, provider)
        assert await first.state(provider) == OPEN
        assert await second.state(provider) == CLOSED
        clock.now += RULE.pause
        assert not await first.is_open(provider)
        assert [await first.state(provider) for _ in range(2)] == [PROBE, OPEN]
        await first.succeeded(provider)
        assert await first.state(provider) == CLOSED
    finally:
        await asyncio.to_thread(part.start)
    clock.now += 5.1
    await fail(first, provider)
    assert await second.state(provider) == OPEN


async def test_emptied_all_are_closed(processes: list[RedisBreakers], valkey: Any) -> None:
    provider = uuid.uuid4().hex
    await fail(processes[0], provider)
    await valkey.flushall()
    assert await processes[0].state(provider) == await processes[1].state(provider) == CLOSED
    await fail(processes[1], provider)
    assert await processes[0].state(provider) == OPEN


async def test_what_cannot_be_read_counts_as_closed(processes: list[RedisBreakers], valkey: Any) -> None:
    provider = uuid.uuid4().hex
    await valkey.set(f"system:breaker:here:{provider}", "nonsense")
    assert await processes[0].state(provider) == CLOSED
    await fail(processes[0], provider)
    assert await processes[1].state(provider) == OPEN
    # Of another type, so that every command on it fails.
    other = uuid.uuid4().hex
    await valkey.rpush(f"system:breaker:here:{other}", "x")
    assert await processes[0].state(other) == CLOSED


async def test_without_an_address_memory_alone_breaks(clock: Clock) -> None:
    breakers = RedisBreakers(RedisConnection(None, "test", clock), "here", RULE, clock)
    await fail(breakers, "p")
    assert await breakers.is_open("p")
    clock.now += RULE.pause
    assert await breakers.state("p") == PROBE
