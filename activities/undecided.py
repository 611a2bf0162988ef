"""Steps without a decision because a check failed, which is not the same as a check that refused.

A failed check never allows: nothing runs while a step is undecided. But an outage of seconds must not refuse for good what was
taken on, so the gate is asked again, and its denial stands only once checks have failed for a while.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from domain.decisions import Decision, GateRequest, ReasonCode, Verdict
from domain.errors import DependencyUnavailable

PATIENCE_SECONDS: Final = 12.0
"""Longer than the constitution's pause after an origin that was away, shorter than a caller waits for a start."""
_MAX_REMEMBERED: Final = 10_000
_FAILED: Final = frozenset({ReasonCode.CHECKER_FAILED.value, ReasonCode.CONSTITUTION_UNAVAILABLE.value})

_Step = tuple[str, str]


class UndecidedSteps:
    """Remembers since when each step is undecided, in this process: after a restart patience begins anew."""

    def __init__(self, patience_seconds: float = PATIENCE_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` counts seconds."""
        self._patience, self._clock = patience_seconds, clock
        self._since: dict[_Step, float] = {}

    def settle(self, request: GateRequest, decision: Decision) -> None:
        """Returns when the decision may stand. Raises DependencyUnavailable when the step is to be asked about again."""
        step, now = _step(request), self._clock()
        failed = next((reason for reason in decision.reasons if reason.code in _FAILED), None)
        if decision.verdict is not Verdict.DENY or failed is None:
            self._since.pop(step, None)
            return
        if len(self._since) >= _MAX_REMEMBERED:
            self._since.clear()
        if now - self._since.setdefault(step, now) < self._patience:
            raise DependencyUnavailable(f"The gate cannot decide yet ({failed.checker}: {failed.code}); it is asked again.")
        del self._since[step]

    def interrupted(self, request: GateRequest) -> None:
        """Decisions could not be recorded meanwhile, so that the time until now says nothing about the checks."""
        self._since.pop(_step(request), None)


def _step(request: GateRequest) -> _Step:
    return request.workflow_id, request.step_key
