"""docs/performance.md, from the JSON of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.results import Measured, Memory, Pair, Report, Spread

_FIGURES: tuple[tuple[str, Callable[[Measured], float], str], ...] = (
    ("p50, ms", lambda run: run.p50_ms, ".1f"),
    ("p99, ms", lambda run: run.p99_ms, ".1f"),
    ("starts per second", lambda run: run.per_second, ".1f"),
)

_INTRODUCTION = """\
# Performance

Written by `make bench` from `benchmarks/results/session_start.json`; do not edit it by hand.

What is compared, in one run on one embedded stack, in turns:

- **raw**: what bare Temporal costs. A workflow started by update-with-start, whose update waits for three local activities
  that do nothing, with the SDK's own converter.
- **ours**: `POST /v1/sessions/start` with a prompt, through the gateway over HTTP. Token, rate limit, Idempotency-Key,
  moderation, policy, constitution, blob, session, decision and outbox in Postgres, and the payload codec are all real; the
  model turn is off.

The aim is a p50 of at most 1.3 times raw and a throughput of at least 0.8 times raw. Ratios are what to read: they compare
two things on the same machine in the same minutes. Absolute figures depend on the machine.
"""

_SETTINGS = """\
## Settings chosen

- One combined local activity decides and records a start; a message is queued by a recorded activity, which is slower and right.
- Poller autoscaling; a worker cache of 500 runs; sticky tasks go to another worker after two seconds.
- uvloop in gateway and worker.
- The embedded Temporal runs with unthrottled task dispatch, one partition for each queue and SQLite in WAL mode with
  `synchronous=normal`. That can lose the last commits when the machine loses power, not when a process is killed.
- The workflow sandbox is off in the worker (`WORKFLOW_SANDBOX` turns it on): it doubles the worker's CPU for each start. Every
  test and every replay of a recorded history runs with it.
"""


def page(report: Report) -> str:
    """The page of one report."""
    parts = [_INTRODUCTION, _about(report)]
    for concurrency in sorted({pair.raw.concurrency for pair in report.pairs}):
        pairs = [pair for pair in report.pairs if pair.raw.concurrency == concurrency]
        parts.append(_table(concurrency, pairs))
        parts.append(_cpu(pairs))
    if report.memory is not None:
        parts.append(_memory(report.memory))
    parts.append(_SETTINGS)
    return "\n".join(parts)


def _about(report: Report) -> str:
    machine = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    versions = ", ".join(f"{name} {value}" for name, value in report.versions.items())
    return f"Measured on {report.date} at commit `{report.commit}`. Machine: {machine}. Versions: {versions}.\n"


def _table(concurrency: int, pairs: Sequence[Pair]) -> str:
    starts = pairs[0].raw.starts
    lines = [
        f"## {concurrency} in flight\n",
        f"{len(pairs)} runs of {starts} starts each; median, and lowest to highest in brackets.\n",
        "| | raw | ours | ours / raw |",
        "|---|---|---|---|",
    ]
    for name, figure, form in _FIGURES:
        raw, ours = [figure(pair.raw) for pair in pairs], [figure(pair.ours) for pair in pairs]
        ratios = [mine / theirs for mine, theirs in zip(ours, raw, strict=True)]
        lines.append(f"| {name} | {_cell(raw, form)} | {_cell(ours, form)} | {_cell(ratios, '.2f')} |")
    return "\n".join([*lines, ""])


def _cell(values: Sequence[float], form: str) -> str:
    spread = Spread.of(values)
    return f"{spread.median:{form}} ({spread.lowest:{form}} to {spread.highest:{form}})"


def _cpu(pairs: Sequence[Pair]) -> str:
    """CPU per start by process; processes that idle in a run are left out of it."""
    lines = ["CPU per start, ms, median of the runs:\n", "| process | raw | ours |", "|---|---|---|"]
    for name in sorted({name for pair in pairs for name in pair.ours.cpu_ms_per_start}):
        raw = Spread.of([pair.raw.cpu_ms_per_start.get(name, 0.0) for pair in pairs]).median
        ours = Spread.of([pair.ours.cpu_ms_per_start.get(name, 0.0) for pair in pairs]).median
        if max(raw, ours) >= 0.05:
            lines.append(f"| {name} | {raw:.1f} | {ours:.1f} |")
    return "\n".join([*lines, ""])


def _memory(memory: Memory) -> str:
    quarters = ", ".join(f"{value:.0f}" for value in memory.quarters_mb)
    return (
        f"## Memory\n\nThe worker's resident memory over {memory.sessions} sessions that stay open, with "
        f"{memory.cached_workflows} runs cached: {quarters} MB (median of each quarter). The last quarter is "
        f"{memory.growth:.3f} times the third; the aim is at most 1.05.\n"
    )
