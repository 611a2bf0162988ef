"""The section of docs/performance.md on model calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.results import Measured
from benchmarks.slm_results import Fairness, Lanes, Ledger, Overhead, Reserved, Shares, SlmReport
from benchmarks.tables import cell, cpu_table, table
from domain.names import Queue
from workers.worker import SLOTS

_INTRODUCTION = """\
What is measured, in one run on one embedded stack, against a local server with OpenAI's protocol that takes {vendor:.0f} ms for
every answer:

- **overhead**: `POST /v1/slm/complete` through the gateway, one at a time: token, rate limits, Idempotency-Key, gate, blobs,
  routing, breaker, journal, ledger, output moderation, request, events and the payload codec are all real. The server's time is
  taken off. **raw** is a workflow of bare Temporal with one activity that does nothing, started and waited for.
- **first text**: the same for `POST /v1/slm/requests` with `stream`, until the first text of its stream has arrived. The server
  sends its first sentence after {vendor:.0f} ms.
- **lanes**: interactive calls, one at a time, to a provider for which thousands of calls of the batch lane are queued.
- **fair shares**: two tenants of equal weight who both always want more than the provider gives.
- **ledger**: reservations from budgets, each settled again.
"""

_OVERHEAD = """\
### Overhead of a call

{runs} runs of {calls} calls each; median, and lowest to highest in brackets. The aim is at most 2 times raw, and 1.5 times for
the first text.
"""

_LANES = """\
### Lanes

{calls} interactive calls in each case. The aim is a p99 of at most 1.5 times alone behind the limit; without a limit the batch
calls use the processors, and the machine is the limit. One worker does it all, with half as many slots for the batch lane.
{queued} calls were queued, {rate:.0f} a second.
"""

_FAIRNESS = """\
### Fair shares

Tokens in {seconds:.0f} s at a limit of {per_second} calls/s, with calls of both tenants queued throughout. The aim is half for
each, within 10 %. **By cost** is ours; **by task** is the same with Temporal's own fairness, which counts tasks. In brackets: the
fewest calls of the tenant that were queued at any time; the batch lane's slots hold {slots}. The last column is how much of the
limit is used once only the second tenant has calls queued.
"""

_LEDGER = """\
### Ledger

Reservations settled in {seconds:.0f} s. The {crowd} are in four processes with ten connections each; the {others} spend another
tenant's budget, in a process of their own or in the same four. Processors and disk are shared throughout, so what waiting for one
budget costs the others is the difference between *a budget each* and *one budget*. Refused are those that got no connection or
lock in ten seconds.
"""


def section(report: SlmReport) -> str:
    """The section of one report."""
    parts = [_INTRODUCTION.format(vendor=1000 * report.vendor_seconds)]
    if report.overheads:
        parts.append(_overhead(report, report.overheads))
    if report.lanes is not None:
        parts.append(_lanes(report.lanes, report.per_second))
    if report.fairness is not None:
        parts.append(_fairness(report.fairness))
    if report.ledger is not None:
        parts.append(_ledger(report.ledger))
    return "\n".join(parts)


def _overhead(report: SlmReport, found: Sequence[Overhead]) -> str:
    def row(name: str, figure: Callable[[Overhead], float], form: str = ".1f") -> list[str]:
        return [name, cell([figure(of) for of in found], form)]

    rows = [
        row("raw, p50 in ms", lambda of: of.raw.p50_ms),
        row("ours, p50 in ms", lambda of: of.ours.p50_ms),
        row("first text, p50 in ms", lambda of: of.first_text.p50_ms),
        row("**ours less the server's time / raw**", report.added, ".2f"),
        row("**first text less the server's time / raw**", report.added_first, ".2f"),
    ]
    return "\n".join(
        (
            _OVERHEAD.format(runs=len(found), calls=found[0].ours.starts),
            table(["", "one at a time"], rows),
            "CPU per call, ms, median of the runs:\n",
            cpu_table({"raw": [of.raw for of in found], "ours": [of.ours for of in found]}),
        )
    )


def _lanes(found: Lanes, per_second: int) -> str:
    cases = {
        "alone": (found.idle, 0, 0),
        f"queue behind {per_second} calls/s": (found.limited, found.waiting[0], found.done[0]),
        "queue without a limit": (found.unlimited, found.waiting[1], found.done[1]),
    }

    def row(name: str, run: Measured, waiting: int, done: int) -> list[str]:
        ratio = f"{run.p99_ms / found.idle.p99_ms:.2f}"
        return [name, f"{waiting}", f"{done}", f"{run.p50_ms:.0f}", f"{run.p99_ms:.0f}", ratio]

    head = ["", "batch calls queued", "served meanwhile", "p50, ms", "p99, ms", "p99 / alone"]
    return "\n".join(
        (
            _LANES.format(calls=found.idle.starts, queued=found.queued, rate=found.queued_per_second),
            table(head, (row(name, *case) for name, case in cases.items())),
        )
    )


def _fairness(found: Fairness) -> str:
    def row(name: str, of: Shares) -> list[str]:
        given = [f"{tenant.tokens} in {tenant.calls} calls ({tenant.fewest_queued})" for tenant in (of.small, of.large)]
        return [
            name,
            *given,
            f"{of.small_share:.0%} : {1 - of.small_share:.0%}",
            f"{of.jain:.3f}",
            f"{of.used:.0%}",
            f"{of.alone:.0%}",
        ]

    small, large = found.by_cost.small.words, found.by_cost.large.words
    head = ["", f"prompts of {small} words", f"prompts of {large} words", "shares", "Jain's index", "limit used", "one alone"]
    return "\n".join(
        (
            _FAIRNESS.format(slots=SLOTS[Queue.SLM_BATCH], seconds=found.by_cost.seconds, per_second=found.by_cost.per_second),
            table(head, [row("by cost", found.by_cost), row("by task", found.by_task)]),
        )
    )


def _ledger(found: Ledger) -> str:
    crowd, others = found.crowd, found.others
    cases = {
        f"{others} callers alone": found.others_alone,
        f"{crowd} callers on one budget alone": found.crowd_alone,
        f"{crowd} with a budget each, beside {others}": found.apart.budget_each,
        f"**{crowd} on one budget, beside {others}**": found.apart.one_budget,
        f"{crowd} with a budget each, {others} in the same processes": found.together.budget_each,
        f"**{crowd} on one budget, {others} in the same processes**": found.together.one_budget,
    }
    rows = [[name, _rate(of.crowd), _rate(of.others), _of(of, found), f"{of.refused}"] for name, of in cases.items()]
    head = ["", f"the {crowd}, per second", f"the {others}, per second", f"the {others} / alone", "refused"]
    return "\n".join(
        (
            _LEDGER.format(seconds=found.seconds, crowd=found.crowd, others=found.others),
            table(head, rows),
        )
    )


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _of(of: Reserved, found: Ledger) -> str:
    return "" if of.others is None else f"{of.others / max(1.0, found.others_alone.others or 0.0):.2f}"
