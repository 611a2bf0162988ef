"""What a run of the benchmark found, as it is written to JSON, and the figures drawn from it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from domain.base import Contract


class Measured(Contract):
    """One run: latencies in milliseconds, CPU time of each group of processes in milliseconds per start."""

    starts: int
    concurrency: int
    p50_ms: float
    p99_ms: float
    per_second: float
    cpu_ms_per_start: dict[str, float]


class Pair(Contract):
    """Raw and ours, one after the other, at the same concurrency."""

    raw: Measured
    ours: Measured


class Memory(Contract):
    """The worker's resident memory in MB, sampled over the starts; the quarters are medians."""

    sessions: int
    cached_workflows: int
    quarters_mb: tuple[float, float, float, float]

    @property
    def growth(self) -> float:
        """The last quarter over the third."""
        return self.quarters_mb[3] / self.quarters_mb[2]


class Run(Contract):
    """When, where and with what something was measured."""

    date: str
    commit: str
    machine: dict[str, str]
    versions: dict[str, str]


class Report(Run):
    """Everything one run of the session benchmark measured."""

    pairs: tuple[Pair, ...]
    memory: Memory | None


class Spread(Contract):
    """Median, lowest and highest of the runs."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(median=statistics.median(values), lowest=min(values), highest=max(values))
