"""Shares by cost, bounds and forecasts: the pure rules, by property."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import fairness
from domain.bounds import completion_input_bound, embedding_input_bound
from domain.forecasts import ENOUGH, PastCall, forecast
from domain.models import ChatMessage, CompletionRequest, EmbeddingRequest

TOKENS = st.integers(min_value=0, max_value=10**7)


@given(TOKENS, st.integers(min_value=-(10**9), max_value=10**9))
def test_a_task_takes_over_no_more_than_it_can_bear(own: int, carried: int) -> None:
    charged, taken = fairness.charge(own, carried)
    assert charged == max(1, own) + taken
    assert max(1, own // 10) <= charged <= 10 * max(1, own)
    assert taken == 0 or (taken > 0) == (carried > 0)
    assert abs(taken) <= abs(carried) or charged == 1


@given(st.lists(st.tuples(st.integers(1, 10_000), st.integers(1, 10_000)), min_size=1, max_size=200))
def test_what_is_charged_follows_what_is_used(calls: list[tuple[int, int]]) -> None:
    """Whatever the forecasts, charges differ from use by no more than what is still carried."""
    carried = charged_in_all = used_in_all = 0
    for guessed, used in calls:
        charged, taken = fairness.charge(guessed, carried)
        carried += used - guessed - taken
        charged_in_all += charged
        used_in_all += used
    assert charged_in_all + carried == used_in_all


@given(st.floats(min_value=0.001, max_value=1000), TOKENS)
def test_weights_stay_in_temporals_bounds(tenant: float, tokens: int) -> None:
    assert fairness.LOWEST <= fairness.weight(tenant, tokens) <= fairness.HIGHEST


def test_a_weight_is_inverse_to_the_cost() -> None:
    assert fairness.weight(1.0, 1_000) == 1.0
    assert fairness.weight(1.0, 50_000) == pytest.approx(0.02)
    assert fairness.weight(2.0, 50_000) == pytest.approx(0.04)


@given(st.lists(st.text(max_size=200), min_size=1, max_size=20))
def test_a_bound_holds_every_byte(texts: list[str]) -> None:
    messages = tuple(ChatMessage(role="user", content=text) for text in texts)
    size = sum(len(text.encode()) for text in texts)
    assert completion_input_bound(CompletionRequest(messages=messages, idempotency_key="k")) > size
    assert embedding_input_bound(EmbeddingRequest(texts=tuple(texts), idempotency_key="k")) > size


def test_a_forecast_without_history_is_a_guess_within_the_limits() -> None:
    guess = forecast((), 4_000, 100)
    assert (guess.input_tokens, guess.output_tokens, guess.calls, guess.median_error) == (1_000, 50, 0, None)
    assert guess.low_tokens <= guess.tokens <= guess.high_tokens


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 2_000)), min_size=ENOUGH, max_size=60), st.integers(1, 4_000))
def test_a_forecast_stays_between_its_ends(past: list[tuple[int, int]], limit: int) -> None:
    history = tuple(
        PastCall(input_bytes=size, input_tokens=size // 4, output_tokens=written, forecast_tokens=size // 4 + 10)
        for size, written in past
    )
    found = forecast(history, 10_000, limit)
    assert found.low_tokens <= found.tokens <= found.high_tokens
    assert found.high_tokens <= found.input_tokens + limit
    assert found.median_error is not None
    assert found.median_error >= 0
