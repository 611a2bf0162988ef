"""Model providers, the journal of their calls, prices, breakers and limits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from domain.base import Contract
from domain.budgets import Reservation
from domain.models import (
    CallRecord,
    Candidate,
    Completion,
    CompletionRequest,
    Embedding,
    EmbeddingRequest,
    SlmAnswer,
    TextDelta,
)
from domain.names import Lane
from domain.prices import Price
from domain.token_streams import Place, TokenPiece


class ModelProvider(Protocol):
    """One vendor's endpoint. It never retries: Temporal owns retries.

    Raises ModelKeyRefused, ModelBadRequest, ModelContentFiltered, ModelContextExceeded (final) or ModelRateLimited,
    ModelOverloaded, ModelTimedOut, ModelStreamBroken (with `retry_after` where the vendor names it).
    """

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        ...

    @property
    def vendor(self) -> str:
        """OpenTelemetry's `gen_ai.provider.name`."""
        ...

    @property
    def external(self) -> bool:
        """False for the embedded models: their calls leave nothing behind and owe nothing."""
        ...

    async def complete(self, model: str, request: CompletionRequest) -> Completion:
        """The whole answer."""
        ...

    def stream(self, model: str, request: CompletionRequest) -> AsyncIterator[TextDelta | Completion]:
        """The answer as it is written; the last item is the whole Completion, with usage."""
        ...

    async def embed(self, model: str, request: EmbeddingRequest) -> Embedding:
        """One vector a text."""
        ...


class CallJournal(Protocol):
    """One row an attempt, with its reservation; a completed answer is kept before it is returned, so a retry finds it."""

    async def begin(self, record: CallRecord, reservation: Reservation) -> SlmAnswer | None:
        """Reserves and records the attempt as started, in one transaction.

        Returns the answer an earlier attempt of the step completed, if there is one, and then reserves nothing. Attempts
        that were started and never ended become `unknown`, billed at their bound, with their event on `slm.metrics`.
        Raises BudgetExhausted, PriceUnknown, ModelBlocked: nothing was reserved and nothing may be sent.
        """
        ...

    async def complete(self, record: CallRecord, answer: SlmAnswer) -> SlmAnswer:
        """Keeps the answer, settles what it used and writes the event, in one transaction.

        The first writer's answer is returned; every completed attempt is settled, since each was paid for. The answer
        that is kept carries cost and overrun.
        """
        ...

    async def end(self, record: CallRecord) -> None:
        """Records an attempt that failed or was cancelled. `record.settlement` says whether its reservation is released
        (nothing is owed) or `unknown` (it may have been paid for, so it is billed at its bound)."""
        ...


class Priced(Contract):
    """A model's price and the version of the table it stands in."""

    price: Price
    snapshot: str


class Prices(Protocol):
    """The price table."""

    def find(self, candidate: Candidate, input_tokens: int) -> Priced | None:
        """The price of a call with that many input tokens; None when it is not known."""
        ...


class BreakerState(Contract):
    """`open` providers are not asked. `probe`: the caller may ask once, to see whether it answers again."""

    open: bool
    probe: bool = False


class Breakers(Protocol):
    """One circuit breaker for each provider and region, shared where Redis is there, else of this process. Never raises."""

    async def state(self, provider: str) -> BreakerState:
        """Whether it may be asked now. A half-open breaker gives `probe` to one caller at a time."""
        ...

    async def is_open(self, provider: str) -> bool:
        """Whether it is open now; takes no probe."""
        ...

    async def succeeded(self, provider: str) -> None:
        """It answered."""
        ...

    async def failed(self, provider: str) -> None:
        """It timed out, was overloaded or could not be reached."""
        ...


class ProviderLimits(Protocol):
    """Calls a second a provider takes from this installation, shared where Redis is there. Never raises."""

    async def take(self, provider: str, per_second: float, lane: Lane) -> float:
        """0 when the call may be sent now and is counted; else the seconds until it is worth asking again.

        Lanes below `project` leave a part of the limit to those above them.
        """
        ...


class TokenStreams(Protocol):
    """Answers on their way to a reader. Only a copy: what is lost here is read from the journalled answer.

    Never raises, and never waits: who writes is not slowed by who carries or reads.
    """

    async def append(self, tenant_id: str, request_id: str, attempt: int, start: int, text: str) -> None:
        """Adds a piece that moderation has passed, which begins after `start` characters of the attempt's text.

        The text of a later attempt takes the place of an earlier one's; what an earlier one still adds is dropped.
        """
        ...

    async def end(self, tenant_id: str, request_id: str, attempt: int) -> None:
        """This attempt adds nothing more; readers then look at the row."""
        ...


class TokenReads(Protocol):
    """The other end of `TokenStreams`. Never raises: what is not there any more is read from the journalled answer."""

    async def read(self, tenant_id: str, request_id: str, after: Place, wait_seconds: float) -> tuple[TokenPiece, ...]:
        """The next pieces from that place on, in order, some dozens at most; none when none came within that time.

        The first may begin after the place, when what was between is lost.
        """
        ...
