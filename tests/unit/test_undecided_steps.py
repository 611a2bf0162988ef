"""How long a failed check is asked again before it is the denial it would be."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from gate_ports import DECISION_ID, gate_request

from activities.undecided import PATIENCE_SECONDS, UndecidedSteps
from domain.decisions import Decision, Reason, Verdict
from domain.errors import DependencyUnavailable

REQUEST = gate_request(None)


class Clock:
    """Stands until it is moved on."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def decision(verdict: Verdict, *codes: str) -> Decision:
    return Decision(
        decision_id=DECISION_ID,
        verdict=verdict,
        reasons=tuple(Reason(checker="moderation", code=code, message="x") for code in codes),
        input_digest="0" * 64,
        decided_at=datetime(2026, 11, 23, tzinfo=UTC),
    )


@pytest.mark.parametrize("code", ["checker-failed", "constitution-unavailable"])
def test_a_failed_check_is_asked_again_until_patience_ends(code: str) -> None:
    clock = Clock()
    steps = UndecidedSteps(clock=clock)
    failed = decision(Verdict.DENY, "some-warning", code)
    for _ in range(3):
        with pytest.raises(DependencyUnavailable, match=f"moderation: {code}"):
            steps.settle(REQUEST, failed)
    clock.now += PATIENCE_SECONDS - 0.1
    with pytest.raises(DependencyUnavailable):
        steps.settle(REQUEST, failed)
    clock.now += 0.2
    steps.settle(REQUEST, failed)


def test_what_a_check_refuses_or_allows_stands_at_once() -> None:
    steps = UndecidedSteps()
    steps.settle(REQUEST, decision(Verdict.DENY, "weapon-making"))
    steps.settle(REQUEST, decision(Verdict.WARN, "mild-insult"))
    steps.settle(REQUEST, decision(Verdict.ALLOW))


def test_patience_begins_anew_after_a_decision_and_after_an_outage_of_the_store() -> None:
    clock = Clock()
    steps = UndecidedSteps(clock=clock)
    failed = decision(Verdict.DENY, "checker-failed")
    for begin_anew in (lambda: steps.settle(REQUEST, decision(Verdict.ALLOW)), lambda: steps.interrupted(REQUEST)):
        with pytest.raises(DependencyUnavailable):
            steps.settle(REQUEST, failed)
        clock.now += PATIENCE_SECONDS + 1
        begin_anew()
        with pytest.raises(DependencyUnavailable):
            steps.settle(REQUEST, failed)
        clock.now += PATIENCE_SECONDS + 1
        steps.settle(REQUEST, failed)


def test_steps_are_apart() -> None:
    clock = Clock()
    steps = UndecidedSteps(clock=clock)
    failed = decision(Verdict.DENY, "checker-failed")
    with pytest.raises(DependencyUnavailable):
        steps.settle(REQUEST, failed)
    clock.now += PATIENCE_SECONDS + 1
    with pytest.raises(DependencyUnavailable):
        steps.settle(REQUEST.model_copy(update={"step_key": "another"}), failed)
    steps.settle(REQUEST, failed)
