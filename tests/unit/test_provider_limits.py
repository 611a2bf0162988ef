"""A provider's limit: never above it, nothing wasted, and the lower lanes leave a reserve."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import provider_limits
from domain.names import Lane
from domain.provider_limits import KEPT_SECONDS

RATES = st.floats(0.05, 500, allow_nan=False)
ASKS = st.lists(st.tuples(st.floats(0, 0.5, allow_nan=False), st.booleans()), min_size=1, max_size=200)


@given(RATES, ASKS)
def test_never_more_than_the_limit_and_its_burst_in_any_time(rate: float, asks: list[tuple[float, bool]]) -> None:
    bucket, now = provider_limits.full(rate, 0.0), 0.0
    taken: list[float] = []
    for pause, upper in asks:
        now += pause
        wait, bucket = provider_limits.take(bucket, rate, now, upper=upper)
        assert 0 <= wait < 2 / rate + 1 + KEPT_SECONDS
        assert -0.001 <= bucket.tokens <= provider_limits.burst(rate)
        if wait == 0:
            taken.append(now)
    for first, start in enumerate(taken):
        for last in range(first, len(taken)):
            assert last - first + 1 <= provider_limits.burst(rate) + (taken[last] - start) * rate + 0.001 * len(taken)


@given(RATES, st.sampled_from([True, False]))
def test_who_comes_back_at_the_time_told_gets_a_token(rate: float, upper: bool) -> None:
    bucket, now = provider_limits.full(rate, 0.0), 0.0
    for _ in range(1100):
        wait, bucket = provider_limits.take(bucket, rate, now, upper=upper)
        if wait:
            break
    now += wait
    wait, bucket = provider_limits.take(bucket, rate, now, upper=upper)
    assert wait == 0


@given(RATES)
def test_waiting_batch_calls_use_all_of_an_idle_limit(rate: float) -> None:
    """Whoever is refused comes back when told, and nothing else asks: after the burst exactly the limit is taken."""
    bucket, now, count = provider_limits.full(rate, 0.0), 0.0, 0
    while count < 1000:
        wait, bucket = provider_limits.take(bucket, rate, now, upper=False)
        count += wait == 0
        now += wait
    assert now <= 1000 / rate + 1e-3 * 1000


@given(st.floats(4, 500, allow_nan=False))
def test_batch_calls_never_touch_the_reserve(rate: float) -> None:
    bucket = provider_limits.full(rate, 0.0)
    for step in range(3000):
        _, bucket = provider_limits.take(bucket, rate, step / 1000, upper=False)
    at_once = 0
    while provider_limits.take(bucket, rate, 3.0, upper=True)[0] == 0:
        bucket = provider_limits.take(bucket, rate, 3.0, upper=True)[1]
        at_once += 1
    assert at_once >= math.floor(rate / 2)


def test_where_there_is_no_room_for_a_reserve_the_next_token_is_kept() -> None:
    bucket = provider_limits.full(1.0, 0.0)
    wait, bucket = provider_limits.take(bucket, 1.0, 0.0, upper=False)
    assert wait == 0
    wait, bucket = provider_limits.take(bucket, 1.0, 0.2, upper=True)
    assert wait == pytest.approx(0.8)
    # The batch call comes first when the token is there, and is told to wait.
    refused, bucket = provider_limits.take(bucket, 1.0, 1.0, upper=False)
    assert refused == pytest.approx(KEPT_SECONDS)
    assert provider_limits.take(bucket, 1.0, 1.0, upper=True)[0] == 0
    # Where nobody comes for it, it is not kept for ever.
    assert provider_limits.take(bucket, 1.0, 1.0 + KEPT_SECONDS, upper=False)[0] == 0


def test_which_lanes_are_above() -> None:
    assert [lane for lane in Lane if provider_limits.is_upper(lane)] == [Lane.SAFETY, Lane.INTERACTIVE, Lane.PROJECT]
