"""The circuit breaker's rule: opens after failures in a row, pauses longer each time, and lets one caller probe."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from domain import breaker
from domain.breaker import BreakerRule, Circuit

RULE = BreakerRule(failures=3, pause=2.0, longest_pause=20.0, probe=10.0, memory=100.0)
STEPS = st.lists(st.tuples(st.sampled_from(["ask", "fail", "succeed"]), st.floats(0, 15, allow_nan=False)), max_size=80)


def opened(times: int, now: float) -> tuple[Circuit, float]:
    """A circuit that was opened that often, and when its pause is over."""
    circuit = Circuit()
    for _ in range(RULE.failures):
        circuit = breaker.failed(RULE, circuit, now)
    for _ in range(times - 1):
        circuit = breaker.failed(RULE, circuit, circuit.open_until)
    return circuit, circuit.open_until


def test_it_opens_after_failures_in_a_row_only() -> None:
    circuit = Circuit()
    for _ in range(RULE.failures - 1):
        circuit = breaker.failed(RULE, circuit, 50.0)
    assert not breaker.is_open(circuit, 50.0)
    assert breaker.succeeded() == Circuit()
    circuit = breaker.failed(RULE, circuit, 50.0)
    assert breaker.is_open(circuit, 50.0)
    assert breaker.is_open(circuit, 51.9)
    assert not breaker.is_open(circuit, 52.0)


def test_one_probe_at_a_time_and_another_when_nothing_is_heard_of_it() -> None:
    circuit, over = opened(1, 50.0)
    assert breaker.probed(RULE, circuit, over - 0.1) is None
    taken = breaker.probed(RULE, circuit, over)
    assert taken is not None
    assert breaker.is_open(taken, over)
    assert breaker.probed(RULE, taken, over + 9.9) is None
    assert breaker.probed(RULE, taken, over + RULE.probe) is not None
    assert breaker.probed(RULE, Circuit(), over) is None


def test_a_failed_probe_reopens_for_longer_up_to_the_longest() -> None:
    pauses = [breaker.pause(RULE, openings) for openings in range(1, 7)]
    assert pauses == [2.0, 4.0, 8.0, 16.0, 20.0, 20.0]
    circuit, over = opened(1, 50.0)
    taken = breaker.probed(RULE, circuit, over)
    assert taken is not None
    again = breaker.failed(RULE, taken, over + 1)
    assert (again.openings, again.open_until) == (2, over + 1 + 4.0)
    assert breaker.pause(RULE, 10**6) == RULE.longest_pause


def test_failures_on_their_way_do_not_lengthen_a_pause() -> None:
    circuit, over = opened(1, 50.0)
    assert breaker.failed(RULE, circuit, over - 0.1) == circuit


def test_what_lies_far_back_is_forgotten() -> None:
    circuit = breaker.failed(RULE, Circuit(), 50.0)
    assert breaker.remembered(RULE, circuit, 149.9) == circuit
    assert breaker.remembered(RULE, circuit, 150.0) == Circuit()


@given(STEPS)
def test_whatever_happens(steps: list[tuple[str, float]]) -> None:
    """No caller is turned away for longer than the longest pause and a probe; only one probes; a success lets all ask."""
    circuit, now, quiet_since = Circuit(), 1000.0, 1000.0
    in_a_row = 0
    probe_ends = 0.0
    for what, seconds in steps:
        now += seconds
        circuit = breaker.remembered(RULE, circuit, now)
        if what == "fail":
            in_a_row += 1
            was_pausing = not circuit.closed and now < circuit.open_until
            circuit = breaker.failed(RULE, circuit, now)
            quiet_since = quiet_since if was_pausing else now
            if not was_pausing:
                probe_ends = 0.0
        elif what == "succeed":
            circuit, in_a_row, probe_ends = breaker.succeeded(), 0, 0.0
            assert not breaker.is_open(circuit, now)
        elif taken := breaker.probed(RULE, circuit, now):
            assert now >= probe_ends
            circuit, quiet_since, probe_ends = taken, now, now + RULE.probe
        if breaker.is_open(circuit, now):
            assert in_a_row >= RULE.failures
            assert now - quiet_since < RULE.longest_pause + RULE.probe
        assert circuit.open_until - now <= RULE.longest_pause
        assert Circuit.model_validate_json(circuit.model_dump_json()) == circuit
