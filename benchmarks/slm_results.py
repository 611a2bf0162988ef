"""What a run of the model benchmark found, as it is written to JSON, and the ratios drawn from it."""

from __future__ import annotations

from benchmarks.results import Measured, Run
from domain.base import Contract


class Overhead(Contract):
    """One round, one call at a time. `first_text` is the time to the first text of a stream."""

    raw: Measured
    ours: Measured
    first_text: Measured


class Lanes(Contract):
    """Interactive calls to one provider: alone, and above a queue of batch calls, with and without the provider's limit.

    `waiting` are the batch calls that were still queued when each of the two began; `done` those served meanwhile.
    """

    idle: Measured
    limited: Measured
    unlimited: Measured
    queued: int
    queued_per_second: float
    waiting: tuple[int, int]
    done: tuple[int, int]


class Tenant(Contract):
    """What a tenant got: calls and tokens. A prompt of it has so many words.

    With fewer calls queued than a worker has in its hands, there is nothing to choose from and the share says nothing.
    """

    words: int
    calls: int
    tokens: int
    fewest_queued: int


class Shares(Contract):
    """Two tenants of equal weight at one provider that cannot serve both.

    `used` is the part of the provider's limit that was used meanwhile, `alone` the same once only the second tenant asked.
    """

    seconds: float
    per_second: int
    small: Tenant
    large: Tenant
    used: float
    alone: float

    @property
    def small_share(self) -> float:
        """The part of the tokens that went to the tenant with small prompts; half would be fair."""
        return self.small.tokens / max(1, self.small.tokens + self.large.tokens)

    @property
    def jain(self) -> float:
        """Jain's index of the tokens: 1 when both got the same, 0.5 when one got all."""
        given = (self.small.tokens, self.large.tokens)
        return sum(given) ** 2 / max(1, len(given) * sum(tokens**2 for tokens in given))


class Fairness(Contract):
    """Shares by cost, as the product does, and by task, as Temporal does."""

    by_cost: Shares
    by_task: Shares


class Reserved(Contract):
    """Reservations a second, each settled again, of the crowd and of the others; `refused` found no connection in time."""

    crowd: float | None
    others: float | None
    refused: int


class Contention(Contract):
    """The crowd beside the others, with a budget each and on one budget: the difference is what waiting for it costs."""

    budget_each: Reserved
    one_budget: Reserved


class Ledger(Contract):
    """A crowd of callers, and a few others on another tenant's budget."""

    crowd: int
    others: int
    seconds: float
    others_alone: Reserved
    crowd_alone: Reserved
    apart: Contention
    """The others in a process of their own."""
    together: Contention
    """The others in the crowd's processes, with whose calls they share the connections."""


class SlmReport(Run):
    """Everything one run of the model benchmark measured; what was left out is none."""

    vendor_seconds: float
    per_second: int
    overheads: tuple[Overhead, ...]
    lanes: Lanes | None
    fairness: Fairness | None
    ledger: Ledger | None

    def added(self, of: Overhead) -> float:
        """What our path adds to a call, as a multiple of the raw workflow: p50 less the vendor's time."""
        return (of.ours.p50_ms - 1000 * self.vendor_seconds) / of.raw.p50_ms

    def added_first(self, of: Overhead) -> float:
        """What it adds to the time to the first text, likewise."""
        return (of.first_text.p50_ms - 1000 * self.vendor_seconds) / of.raw.p50_ms
