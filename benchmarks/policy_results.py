"""What the benchmark of policy decisions found, and its section of docs/performance.md."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Final, Self

from benchmarks.results import Run
from benchmarks.tables import table
from domain.base import Contract

_INTRODUCTION: Final = """\
One decision in a process, without the rest of the gate: {policies} policies, parsed before, with the schema on, {calls} calls of
each case in turns. **Plain** is one call of the Cedar library. **Ours** makes request and entities from a question (three
entities for one effect, five for five) and a verdict with its reasons from the answer. The aim is a p95 below 2 ms.
"""


class PolicyTimes(Contract):
    """How long one case took, in milliseconds."""

    name: str
    p50_ms: float
    p95_ms: float

    @classmethod
    def of(cls, name: str, times: Sequence[float]) -> Self:
        """Of at least two values."""
        return cls(name=name, p50_ms=statistics.median(times), p95_ms=statistics.quantiles(times, n=20)[18])


class PolicyReport(Run):
    """Everything one run measured; the first case is what the others are compared with."""

    policies: int
    calls: int
    times: tuple[PolicyTimes, ...]


def section(report: PolicyReport) -> str:
    """The section."""
    first = report.times[0]
    rows = ([each.name, f"{each.p50_ms:.3f}", f"{each.p95_ms:.3f}", f"{each.p95_ms / first.p95_ms:.2f}"] for each in report.times)
    return "\n".join(
        (
            _INTRODUCTION.format(policies=report.policies, calls=report.calls),
            table(["", "p50, ms", "p95, ms", "p95 / first"], rows),
        )
    )
