"""A vendor's usage report against our attempts: which line explains which attempt, and what no line or no attempt explains.

Attempts of one step share an idempotency key, and a vendor that knows the key bills it once. So a key's lines first go to
attempts settled at the same figures, then to the unknown ones, then to those we held for free.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from pydantic import Field

from domain.actors import Actor
from domain.base import Contract, Count, UtcTime
from domain.blobs import BlobRef
from domain.budgets import Settlement

MAX_LINES: Final = 50_000
NAMED: Final = 200
"""Unexplained lines that an answer names."""


class VendorUsage(Contract):
    """One line of a vendor's usage report: what it billed for the call of that idempotency key. `micros` are in the currency
    the call was reserved in; without them the price table says what the tokens cost."""

    idempotency_key: str = Field(min_length=1, max_length=300)
    input_tokens: Count
    output_tokens: Count
    micros: Count | None = None

    @property
    def tokens(self) -> int:
        """Input and output."""
        return self.input_tokens + self.output_tokens


class UsageReport(Contract):
    """A report, as the blob that a reconciliation names holds it."""

    lines: tuple[VendorUsage, ...] = Field(max_length=MAX_LINES)


class Attempt(Contract):
    """An attempt at a model call as the ledger has it. `tokens` is its bound, `currency` what its bound in money is in; what it
    used is there once it is settled."""

    workflow_id: str
    step_key: str
    attempt: int
    state: Settlement
    idempotency_key: str
    provider: str
    model: str
    tokens: Count
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    used_micros: Count | None = None
    currency: str | None = None
    created_at: UtcTime
    expires_at: UtcTime


class Why(StrEnum):
    """Why a line is not explained."""

    NO_ATTEMPT = "no_attempt"
    """No attempt has that key."""
    REPEATED = "repeated"
    """More lines have the key than attempts."""
    DIFFERS = "differs"
    """Its attempt was settled at other figures, which stand."""
    RUNNING = "running"
    """Its attempt has not ended yet."""


class Unexplained(Contract):
    """A line that changes nothing, and why."""

    idempotency_key: str
    tokens: Count
    why: Why


class ReconcileCall(Contract):
    """Argument of `ledger.reconcile`. Only with both `since` and `until` are attempts released that the report does not list:
    those that began and would have timed out between them. `dry_run` changes nothing."""

    actor: Actor
    provider: str
    report: BlobRef
    since: UtcTime | None = None
    until: UtcTime | None = None
    dry_run: bool = False


class Reconciled(Contract):
    """What a report explained."""

    lines: Count = 0
    settled: Count = Field(default=0, description="Attempts that now cost what the vendor says.")
    absent: Count = Field(default=0, description="Unknown attempts of the report's time that the vendor did not bill: released.")
    unmatched: Count = Field(default=0, description="Lines that no attempt of ours explains.")
    unexplained: tuple[Unexplained, ...] = Field(default=(), description=f"The first {NAMED} of them.")
    dry_run: bool = False


@dataclass
class Explained:
    """What is to be done about a report."""

    settle: list[tuple[Attempt, VendorUsage]] = field(default_factory=list[tuple[Attempt, VendorUsage]])
    release: list[Attempt] = field(default_factory=list[Attempt])
    unexplained: list[Unexplained] = field(default_factory=list[Unexplained])


def explain(
    lines: Iterable[VendorUsage], attempts: Iterable[Attempt], since: UtcTime | None = None, until: UtcTime | None = None
) -> Explained:
    """Matches lines with attempts of the same key, oldest first."""
    said: dict[str, list[VendorUsage]] = defaultdict(list)
    made: dict[str, list[Attempt]] = defaultdict(list)
    for line in lines:
        said[line.idempotency_key].append(line)
    for attempt in sorted(attempts, key=lambda each: (each.created_at, each.attempt)):
        made[attempt.idempotency_key].append(attempt)
    result = Explained()
    for key in dict.fromkeys((*said, *made)):
        _explain_key(said.get(key, []), made.get(key, []), result)
    if since is None or until is None:
        result.release = []
    else:
        result.release = [each for each in result.release if since <= each.created_at and each.expires_at <= until]
    return result


def _explain_key(lines: list[VendorUsage], attempts: list[Attempt], result: Explained) -> None:
    by_state = {state: [each for each in attempts if each.state is state] for state in Settlement}
    left = list(lines)
    differ: list[Attempt] = []
    for attempt in by_state[Settlement.SETTLED]:
        same = next((line for line in left if _same(attempt, line)), None)
        if same is None:
            differ.append(attempt)
        else:
            left.remove(same)
    open_ones = [*by_state[Settlement.UNKNOWN], *by_state[Settlement.RELEASED]]
    taken = list(zip(open_ones, left, strict=False))
    result.settle += taken
    result.release += [each for each in open_ones[len(taken) :] if each.state is Settlement.UNKNOWN]
    for line in left[len(taken) :]:
        why = _why(differ, by_state[Settlement.RESERVED], attempts)
        result.unexplained.append(Unexplained(idempotency_key=line.idempotency_key, tokens=line.tokens, why=why))


def _same(attempt: Attempt, line: VendorUsage) -> bool:
    """The vendor billed what we have; in tokens alone where one of the two names no money."""
    tokens = (attempt.input_tokens, attempt.output_tokens) == (line.input_tokens, line.output_tokens)
    return tokens and (None in (line.micros, attempt.used_micros) or line.micros == attempt.used_micros)


def _why(differ: list[Attempt], running: list[Attempt], attempts: list[Attempt]) -> Why:
    """Each attempt that differs or runs accounts for one line."""
    if differ:
        differ.pop()
        return Why.DIFFERS
    if running:
        running.pop()
        return Why.RUNNING
    return Why.REPEATED if attempts else Why.NO_ATTEMPT
