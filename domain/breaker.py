"""A circuit breaker's rule: who failed several times in a row is left alone for a while, then tried by one caller at a time.

Times are seconds of any clock that all who share a circuit read alike; nothing here reads it.
"""

from __future__ import annotations

from pydantic import Field

from domain.base import Contract, Count


class BreakerRule(Contract):
    """When a circuit opens, and for how long. All times in seconds."""

    failures: int = Field(default=5, ge=1)
    """Failures in a row that open it."""
    pause: float = Field(default=5.0, gt=0)
    """The first pause; each reopening doubles it."""
    longest_pause: float = Field(default=120.0, gt=0)
    probe: float = Field(default=30.0, gt=0)
    """A probe of which nothing was heard for so long no longer keeps others from trying."""
    memory: float = Field(default=600.0, gt=0)
    """Failures that lie further back are forgotten; longer than any pause."""


class Circuit(Contract):
    """What is known about one provider. A closed circuit without failures is `Circuit()`."""

    failures: Count = 0
    """In a row, while it is closed."""
    openings: Count = 0
    """In a row; 0 while it is closed."""
    open_until: float = 0.0
    probed_until: float = 0.0
    failed_at: float = 0.0

    @property
    def closed(self) -> bool:
        """Everybody may ask."""
        return self.openings == 0


def remembered(rule: BreakerRule, circuit: Circuit, now: float) -> Circuit:
    """The circuit without what lies too far back."""
    return circuit if now - circuit.failed_at < rule.memory else Circuit()


def is_open(circuit: Circuit, now: float) -> bool:
    """Whether somebody who asked now would be turned away: it pauses, or somebody is probing."""
    return not circuit.closed and now < max(circuit.open_until, circuit.probed_until)


def probed(rule: BreakerRule, circuit: Circuit, now: float) -> Circuit | None:
    """The circuit once its probe is taken; None where there is none to take: it is closed, pauses, or is being probed."""
    if circuit.closed or is_open(circuit, now):
        return None
    return circuit.model_copy(update={"probed_until": now + rule.probe})


def failed(rule: BreakerRule, circuit: Circuit, now: float) -> Circuit:
    """The circuit after a failure. One that pauses is left as it is: calls that were on their way say nothing new."""
    if circuit.closed:
        failures = circuit.failures + 1
        counted = Circuit(failures=failures, failed_at=now)
        return counted if failures < rule.failures else _opened(rule, counted, now)
    return circuit if now < circuit.open_until else _opened(rule, circuit, now)


def succeeded() -> Circuit:
    """The circuit after a success: closed, with nothing held against it."""
    return Circuit()


def pause(rule: BreakerRule, openings: int) -> float:
    """How long the pause of that many openings in a row is."""
    doublings = min(openings - 1, 32)
    return min(rule.pause * 2.0**doublings, rule.longest_pause)


def _opened(rule: BreakerRule, circuit: Circuit, now: float) -> Circuit:
    openings = circuit.openings + 1
    return Circuit(openings=openings, open_until=now + pause(rule, openings), failed_at=now)
