"""Model providers, and the journal of their calls."""

from __future__ import annotations

from typing import Protocol

from domain.models import CallRecord, Completion, CompletionRequest, SlmAnswer


class ModelProvider(Protocol):
    """One model behind one vendor's protocol. It never retries: Temporal owns retries."""

    @property
    def provider(self) -> str:
        """The provider's name, OpenTelemetry's `gen_ai.provider.name`."""
        ...

    @property
    def model(self) -> str:
        """The model asked for."""
        ...

    @property
    def fallback(self) -> bool:
        """True for the embedded model, which answers when nothing else is configured."""
        ...

    async def complete(self, request: CompletionRequest) -> Completion:
        """The answer. Raises ModelRefused (final) or ModelUnavailable (with `retry_after` where the vendor names it)."""
        ...


class CallJournal(Protocol):
    """One row an attempt; a completed answer is kept before it is returned, so a retry finds it."""

    async def begin(self, record: CallRecord) -> SlmAnswer | None:
        """Records the attempt as started. Returns the answer an earlier attempt completed, if there is one; attempts
        that were started and never ended are recorded as `unknown`, with their event on `slm.metrics`."""
        ...

    async def complete(self, record: CallRecord, answer: SlmAnswer) -> SlmAnswer:
        """Keeps the answer, with its event; the first writer wins and its answer is returned."""
        ...

    async def end(self, record: CallRecord) -> None:
        """Records an attempt that failed or was cancelled, with its event."""
        ...
