"""A vendor's report against our attempts: every line and every unknown attempt ends in exactly one place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.budgets import Settlement
from domain.reconciling import Attempt, VendorUsage, Why, explain

START = datetime(2026, 1, 1, tzinfo=UTC)
UNKNOWN, SETTLED, RELEASED, RESERVED = Settlement.UNKNOWN, Settlement.SETTLED, Settlement.RELEASED, Settlement.RESERVED


def attempt(
    state: Settlement, used: int | None = None, *, key: str = "k", number: int = 1, minute: int = 0, micros: int | None = None
) -> Attempt:
    return Attempt(
        workflow_id="w",
        step_key=key,
        attempt=number,
        state=state,
        idempotency_key=key,
        provider="p",
        model="m",
        tokens=100,
        input_tokens=used,
        output_tokens=None if used is None else 0,
        used_micros=micros,
        created_at=START + timedelta(minutes=minute),
        expires_at=START + timedelta(minutes=minute + 5),
    )


def line(tokens: int, key: str = "k", micros: int | None = None) -> VendorUsage:
    return VendorUsage(idempotency_key=key, input_tokens=tokens, output_tokens=0, micros=micros)


def test_a_line_goes_to_the_settled_attempt_of_the_same_figures_first() -> None:
    found = explain([line(7), line(9)], [attempt(UNKNOWN, number=1), attempt(SETTLED, 7, number=2)])
    assert [(each.attempt, said.tokens) for each, said in found.settle] == [(1, 9)]
    assert found.unexplained == []


def test_money_tells_lines_of_the_same_tokens_apart() -> None:
    attempts = [attempt(UNKNOWN, number=1), attempt(SETTLED, 7, number=2, micros=70)]
    found = explain([line(7, micros=90), line(7, micros=70)], attempts)
    assert [(each.attempt, said.micros) for each, said in found.settle] == [(1, 90)]
    assert explain([line(7), line(7, micros=70)], attempts).unexplained == []
    assert [each.why for each in explain([line(7, micros=71)], attempts[1:]).unexplained] == [Why.DIFFERS]


def test_lines_go_to_unknown_attempts_before_released_ones_the_oldest_first() -> None:
    attempts = [attempt(RELEASED, number=1), attempt(UNKNOWN, number=3, minute=2), attempt(UNKNOWN, number=2, minute=1)]
    found = explain([line(1), line(2), line(3)], attempts)
    assert [(each.attempt, said.tokens) for each, said in found.settle] == [(2, 1), (3, 2), (1, 3)]


@pytest.mark.parametrize(
    ("attempts", "why"),
    [
        ([], Why.NO_ATTEMPT),
        ([attempt(SETTLED, 8)], Why.DIFFERS),
        ([attempt(RESERVED)], Why.RUNNING),
        ([attempt(SETTLED, 7), attempt(SETTLED, 7, number=2)], Why.REPEATED),
    ],
)
def test_a_line_that_changes_nothing_says_why(attempts: list[Attempt], why: Why) -> None:
    lines = [line(7)] * (3 if why is Why.REPEATED else 1)
    found = explain(lines, attempts)
    assert [each.why for each in found.unexplained] == [why]
    assert found.settle == []


def test_only_attempts_that_lie_wholly_in_the_time_of_the_report_are_released() -> None:
    attempts = [attempt(UNKNOWN, key=f"k{minute}", minute=minute) for minute in range(12)]
    found = explain([line(5, "k4")], attempts, START + timedelta(minutes=2), START + timedelta(minutes=10))
    assert [each.idempotency_key for each in found.release] == ["k2", "k3", "k5"]
    assert explain([], attempts).release == []
    assert explain([], attempts, since=START).release == []


KEYS = st.sampled_from(["a", "b", "c"])


@given(
    lines=st.lists(st.builds(line, st.integers(0, 3), KEYS), max_size=12),
    made=st.lists(st.tuples(st.sampled_from(Settlement), st.integers(0, 3), KEYS), max_size=12),
)
def test_nothing_is_counted_twice_or_dropped_and_a_second_look_finds_nothing_more(
    lines: list[VendorUsage], made: list[tuple[Settlement, int, str]]
) -> None:
    attempts = [
        attempt(state, used if state is SETTLED else None, key=key, number=number)
        for number, (state, used, key) in enumerate(made)
    ]
    span = (START, START + timedelta(hours=1))
    found = explain(lines, attempts, *span)
    settled = {each.attempt: said for each, said in found.settle}
    released = {each.attempt for each in found.release}
    assert len(settled) == len(found.settle)
    assert not released & settled.keys()
    assert {each.attempt for each in attempts if each.state is UNKNOWN} <= released | settled.keys()
    assert all(each.idempotency_key == said.idempotency_key for each, said in found.settle)
    after = [
        each.model_copy(update={"state": SETTLED, "input_tokens": settled[each.attempt].tokens, "output_tokens": 0})
        if each.attempt in settled
        else each.model_copy(update={"state": RELEASED})
        if each.attempt in released
        else each
        for each in attempts
    ]
    again = explain(lines, after, *span)
    assert (again.settle, again.release) == ([], [])
    assert len(again.unexplained) == len(found.unexplained)
