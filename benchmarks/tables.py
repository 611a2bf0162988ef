"""Tables of the performance page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from benchmarks.results import Measured, Spread


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, with an empty line after it."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(["|" + "|".join(line) + "|" if line[0] == "---" else f"| {' | '.join(line)} |" for line in lines] + [""])


def cell(values: Sequence[float], form: str) -> str:
    """The median, and lowest to highest."""
    spread = Spread.of(values)
    return f"{spread.median:{form}} ({spread.lowest:{form}} to {spread.highest:{form}})"


def cpu_table(runs: Mapping[str, Sequence[Measured]]) -> str:
    """CPU per start by process, median of the runs; processes that idle are left out."""
    names = sorted({name for of in runs.values() for run in of for name in run.cpu_ms_per_start})
    rows: list[list[str]] = []
    for name in names:
        medians = [Spread.of([run.cpu_ms_per_start.get(name, 0.0) for run in of]).median for of in runs.values()]
        if max(medians) >= 0.05:
            rows.append([name, *(f"{value:.1f}" for value in medians)])
    return table(["process", *runs], rows)
