"""docs/performance.md, from the JSON of the last run of each benchmark."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks import policy_results
from benchmarks.policy_results import PolicyReport
from benchmarks.results import Measured, Memory, Pair, Report, Run
from benchmarks.slm_page import section
from benchmarks.slm_results import SlmReport
from benchmarks.tables import cell, cpu_table, table

_FIGURES: tuple[tuple[str, Callable[[Measured], float], str], ...] = (
    ("p50, ms", lambda run: run.p50_ms, ".1f"),
    ("p99, ms", lambda run: run.p99_ms, ".1f"),
    ("starts per second", lambda run: run.per_second, ".1f"),
)

_HEAD = """\
# Performance

Written by `make bench` from `benchmarks/results`; do not edit it by hand. Ratios are what to read: they compare two things on
the same machine in the same minutes. Absolute figures depend on the machine.
"""

_SESSIONS = """\
What is compared, in one run on one embedded stack, in turns:

- **raw**: what bare Temporal costs. A workflow started by update-with-start, whose update waits for three local activities
  that do nothing, with the SDK's own converter.
- **ours**: `POST /v1/sessions/start` with a prompt, through the gateway over HTTP. Token, rate limit, Idempotency-Key,
  moderation, policy, constitution, blob, session, decision and outbox in Postgres, and the payload codec are all real; the
  model turn is off.

The aim is a p50 of at most 1.3 times raw and a throughput of at least 0.8 times raw.
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


def page(sessions: Report | None, models: SlmReport | None, policies: PolicyReport | None) -> str:
    """The page; a benchmark that never ran has no section."""
    parts = [_HEAD]
    if sessions is not None:
        parts += ["## Session starts\n", _about(sessions), _session_starts(sessions)]
    if models is not None:
        parts += ["## Model calls\n", _about(models), section(models)]
    if policies is not None:
        parts += ["## Policy decisions\n", _about(policies), policy_results.section(policies)]
    return "\n".join((*parts, _SETTINGS))


def _about(run: Run) -> str:
    machine = ", ".join(f"{name} {value}" for name, value in run.machine.items())
    versions = ", ".join(f"{name} {value}" for name, value in run.versions.items())
    return f"Measured on {run.date} at commit `{run.commit}`. Machine: {machine}. Versions: {versions}.\n"


def _session_starts(report: Report) -> str:
    parts = [_SESSIONS]
    for concurrency in sorted({pair.raw.concurrency for pair in report.pairs}):
        pairs = [pair for pair in report.pairs if pair.raw.concurrency == concurrency]
        parts.append(_pairs(concurrency, pairs))
        parts.append("CPU per start, ms, median of the runs:\n")
        parts.append(cpu_table({"raw": [pair.raw for pair in pairs], "ours": [pair.ours for pair in pairs]}))
    if report.memory is not None:
        parts.append(_memory(report.memory))
    return "\n".join(parts)


def _pairs(concurrency: int, pairs: Sequence[Pair]) -> str:
    def row(name: str, figure: Callable[[Measured], float], form: str) -> list[str]:
        raw, ours = [figure(pair.raw) for pair in pairs], [figure(pair.ours) for pair in pairs]
        ratios = [mine / theirs for mine, theirs in zip(ours, raw, strict=True)]
        return [name, cell(raw, form), cell(ours, form), cell(ratios, ".2f")]

    lines = (
        f"### {concurrency} in flight\n",
        f"{len(pairs)} runs of {pairs[0].raw.starts} starts each; median, and lowest to highest in brackets.\n",
        table(["", "raw", "ours", "ours / raw"], (row(*figure) for figure in _FIGURES)),
    )
    return "\n".join(lines)


def _memory(memory: Memory) -> str:
    quarters = ", ".join(f"{value:.0f}" for value in memory.quarters_mb)
    return (
        f"### Memory\n\nThe worker's resident memory over {memory.sessions} sessions that stay open, with "
        f"{memory.cached_workflows} runs cached: {quarters} MB (median of each quarter). The last quarter is "
        f"{memory.growth:.3f} times the third; the aim is at most 1.05.\n"
    )
