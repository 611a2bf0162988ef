"""What the Temporal SDK counts (slots, polls, latencies, failed workflow tasks), in the registry of the process.

The SDK's own Prometheus server would be a second port to find and to guard, so its updates come through a buffer. That holds some
thousand session starts and is emptied every second; what does not fit is lost. 27 updates a start cost 60 µs of Python.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from temporalio.runtime import (
    BUFFERED_METRIC_KIND_COUNTER,
    BUFFERED_METRIC_KIND_HISTOGRAM,
    BufferedMetric,
    BufferedMetricUpdate,
    MetricBuffer,
    MetricBufferDurationFormat,
    Runtime,
    TelemetryConfig,
)

from runtime.metrics import SECONDS

LABELS: Final = frozenset(
    {
        "activity_type",
        "failure_reason",
        "namespace",
        "operation",
        "poller_type",
        "status_code",
        "task_queue",
        "worker_type",
        "workflow_type",
    }
)
"""No other attribute becomes a label: a tenant or an id must not, whatever a later SDK adds."""

_BUFFER: Final = 100_000
_DRAIN_SECONDS: Final = 1.0
_Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Series:
    """One metric under one set of labels. `within` counts the observations of each bucket, the last one above them all."""

    value: float = 0.0
    within: list[int] = field(default_factory=lambda: [0] * (len(SECONDS) + 1))


class SdkMetrics(Collector):
    """Sums up the updates; histograms are in seconds."""

    def __init__(self, take: Callable[[], Iterable[BufferedMetricUpdate]]) -> None:
        """`take` gives the updates since it was last called."""
        self._take = take
        self._series: dict[str, tuple[BufferedMetric, dict[_Labels, _Series]]] = {}

    @classmethod
    def of_process(cls) -> SdkMetrics:
        """What every client of this process counts. Called where a process begins: it makes the runtime they will share, and
        raises RuntimeError when there is one already."""
        buffer = MetricBuffer(_BUFFER, MetricBufferDurationFormat.SECONDS)
        Runtime.set_default(Runtime(telemetry=TelemetryConfig(metrics=buffer)))
        return cls(buffer.retrieve_updates)

    @asynccontextmanager
    async def kept_up(self) -> AsyncGenerator[None]:
        """Empties the buffer every second while the block runs, asked or not."""

        async def drain() -> None:
            while True:
                self._drain()
                await asyncio.sleep(_DRAIN_SECONDS)

        draining = asyncio.create_task(drain())
        try:
            yield
        finally:
            draining.cancel()
            with suppress(asyncio.CancelledError):
                await draining

    def _drain(self) -> None:
        """In order: the last value of a gauge stands."""
        for update in self._take():
            metric = update.metric
            labels = tuple(sorted((name, str(value)) for name, value in update.attributes.items() if name in LABELS))
            series = self._series.setdefault(metric.name, (metric, {}))[1].setdefault(labels, _Series())
            if metric.kind == BUFFERED_METRIC_KIND_COUNTER:
                series.value += update.value
            elif metric.kind == BUFFERED_METRIC_KIND_HISTOGRAM:
                series.value += update.value
                series.within[bisect_left(SECONDS, update.value)] += 1
            else:
                series.value = update.value

    def collect(self) -> Iterator[Metric]:
        """Every metric as it stands now, as Prometheus names it: `_seconds` and `_total` at the end."""
        self._drain()
        for metric, found in self._series.values():
            name = f"{metric.name}_seconds" if metric.unit in ("s", "ms") else metric.name
            if metric.kind == BUFFERED_METRIC_KIND_COUNTER:
                family = Metric(name.removesuffix("_total"), metric.description or "", "counter")
                for labels, series in found.items():
                    family.add_sample(f"{family.name}_total", dict(labels), series.value)
            elif metric.kind == BUFFERED_METRIC_KIND_HISTOGRAM:
                family = Metric(name, metric.description or "", "histogram")
                for labels, series in found.items():
                    _add_histogram(family, dict(labels), series)
            else:
                family = Metric(name, metric.description or "", "gauge")
                for labels, series in found.items():
                    family.add_sample(name, dict(labels), series.value)
            yield family


def _add_histogram(family: Metric, labels: dict[str, str], series: _Series) -> None:
    for bound, count in zip((*map(str, SECONDS), "+Inf"), accumulate(series.within), strict=True):
        family.add_sample(f"{family.name}_bucket", labels | {"le": bound}, count)
    family.add_sample(f"{family.name}_count", labels, sum(series.within))
    family.add_sample(f"{family.name}_sum", labels, series.value)
