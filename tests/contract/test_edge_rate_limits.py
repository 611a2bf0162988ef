"""Rate limits in a real Valkey: shared by every gateway, still there when it is killed, and shared again when it is back."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest

from adapters.rate_limit import EdgeRateLimiter
from domain.errors import DependencyUnavailable
from workers.embedded.stack import EmbeddedStack


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
async def limiters(stack: EmbeddedStack, clock: Clock) -> AsyncIterator[list[EdgeRateLimiter]]:
    """Two gateways' limiters."""
    made = [EdgeRateLimiter(stack.environment["REDIS_URL"], clock) for _ in range(2)]
    yield made
    for limiter in made:
        await limiter.aclose()


async def taken(limiter: EdgeRateLimiter, key: str, times: int, limit: int = 5) -> list[bool]:
    return [(await limiter.take("client", key, limit)).allowed for _ in range(times)]


async def test_gateways_count_together(limiters: list[EdgeRateLimiter]) -> None:
    key = uuid.uuid4().hex
    assert await taken(limiters[0], key, 3) == [True] * 3
    assert await taken(limiters[1], key, 3) == [True, True, False]
    refused = await limiters[0].take("client", key, 5)
    assert (refused.allowed, refused.limit, refused.remaining) == (False, 5, 0)
    assert 1 <= refused.reset_seconds <= 60
    assert await taken(limiters[0], uuid.uuid4().hex, 1) == [True]


async def test_buckets_are_apart_and_looking_costs_nothing(limiters: list[EdgeRateLimiter]) -> None:
    key = uuid.uuid4().hex
    for _ in range(10):
        seen = await limiters[0].peek("client", key, 5)
        assert (seen.allowed, seen.remaining, seen.reset_seconds) == (True, 5, 1)
    await taken(limiters[0], key, 5)
    assert not (await limiters[0].peek("client", key, 5)).allowed
    assert (await limiters[0].take("other", key, 5)).allowed


async def test_what_is_shown_between_two_questions_is_reckoned(limiters: list[EdgeRateLimiter], clock: Clock) -> None:
    key = uuid.uuid4().hex
    assert [(await limiters[0].take("client", key, 200)).remaining for _ in range(3)] == [199, 198, 197]
    assert (await limiters[1].take("client", key, 200)).remaining == 196
    assert (await limiters[0].take("client", key, 200)).remaining == 196
    clock.now += 0.5
    assert (await limiters[0].take("client", key, 200)).remaining == 194


async def test_many_at_once_get_no_more_than_the_limit(limiters: list[EdgeRateLimiter]) -> None:
    key = uuid.uuid4().hex
    quotas = await asyncio.gather(*(limiters[number % 2].take("client", key, 20) for number in range(60)))
    assert sum(quota.allowed for quota in quotas) == 20


async def test_without_valkey_each_counts_for_itself_and_later_together_again(
    stack: EmbeddedStack, limiters: list[EdgeRateLimiter], clock: Clock
) -> None:
    key = uuid.uuid4().hex
    valkey = stack.part("valkey")
    assert await taken(limiters[0], key, 1) == [True]
    await asyncio.to_thread(valkey.kill9)
    try:
        assert await taken(limiters[0], key, 6) == [True] * 5 + [False]
        assert await taken(limiters[1], key, 6) == [True] * 5 + [False]
        with pytest.raises(DependencyUnavailable):
            await limiters[0].ping()
    finally:
        await asyncio.to_thread(valkey.start)
    assert await taken(limiters[0], key, 1) == [False]
    clock.now += 5.1
    await limiters[0].ping()
    fresh = uuid.uuid4().hex
    assert await taken(limiters[0], fresh, 5) == [True] * 5
    assert await taken(limiters[1], fresh, 1) == [False]


async def test_without_an_address_memory_alone_counts(clock: Clock) -> None:
    limiter = EdgeRateLimiter(None, clock)
    assert not limiter.shared
    assert await taken(limiter, "k", 6) == [True] * 5 + [False]
    await limiter.ping()
    await limiter.aclose()
