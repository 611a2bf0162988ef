"""One attempt at one model call: everything in and out by reference, journalled before it is returned.

The journal makes a retry harmless: an answer that a former attempt completed is found, not asked for again, and an
attempt that died between asking and recording is recorded as `unknown` before another one is made.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

from pydantic import ValidationError
from temporalio import activity

from activities.errors import translate_errors
from domain.errors import DomainError, ModelRefused, NotFound, Unavailable
from domain.memory import Recollection
from domain.models import (
    CallOutcome,
    CallRecord,
    ChatMessage,
    Completion,
    CompletionRequest,
    SlmAnswer,
    SlmCall,
    SourceText,
)
from domain.names import ActivityName
from domain.ports.blobs import BlobStore
from domain.ports.documents import DocumentReads
from domain.ports.models import CallJournal, ModelProvider
from domain.ports.sessions import SessionReads

HEARTBEAT_SECONDS: Final = 1.0
KEEP_SECONDS: Final = 30.0
"""How long an answer that came is offered to a store that does not take it."""
EXCHANGES: Final = 20
"""Earlier exchanges a model is given."""

INSTRUCTIONS: Final = (
    "You answer the user's last message. Use the given sources where they help, and say plainly when they do not hold the answer."
)


class SlmActivities:
    """What the `slm` queue does."""

    def __init__(
        self,
        *,
        provider: ModelProvider,
        journal: CallJournal,
        blobs: BlobStore,
        sessions: SessionReads,
        documents: DocumentReads,
        output_tokens: int = 1024,
    ) -> None:
        """`output_tokens` bounds an answer."""
        self._provider, self._journal, self._blobs = provider, journal, blobs
        self._sessions, self._documents = sessions, documents
        self._output_tokens = output_tokens

    @activity.defn(name=ActivityName.SLM_COMPLETE.value)
    async def complete(self, call: SlmCall) -> SlmAnswer:
        """The answer, by reference. Fails as `model-refused` for good, as `model-unavailable` to be retried."""
        async with _heartbeats():
            with translate_errors():
                record = self._record(call)
                if kept := await self._journal.begin(record):
                    return kept
                record, completion = await self._ask(call, record)
                return await self._keep(record, completion)

    async def _ask(self, call: SlmCall, record: CallRecord) -> tuple[CallRecord, Completion]:
        """What the model said. However the asking ends, the journal is told."""
        began = time.monotonic()
        try:
            request = await self._request(call, record)
            began = time.monotonic()
            completion = await self._provider.complete(request)
            if not completion.text:
                raise ModelRefused("The model's own filter withheld the answer; ask in other words.")
        except asyncio.CancelledError:
            await self._end(_ended(record, CallOutcome.CANCELLED, began))
            raise
        except Exception as error:
            kind = error.type if isinstance(error, DomainError) else DomainError.type
            await self._end(_ended(record, CallOutcome.FAILED, began, kind))
            raise
        measured = {
            "model": completion.model,
            "input_tokens": completion.usage.input_tokens,
            "output_tokens": completion.usage.output_tokens,
        }
        return _ended(record, CallOutcome.COMPLETED, began).model_copy(update=measured), completion

    async def _keep(self, record: CallRecord, completion: Completion) -> SlmAnswer:
        """The answer, journalled. It has been paid for, so a store that is away is waited for before it is given up."""
        deadline = time.monotonic() + KEEP_SECONDS
        pause = 0.2
        while True:
            try:
                reply = await self._blobs.put(record.tenant_id, completion.text.encode())
                answer = SlmAnswer(
                    reply=reply,
                    provider=self._provider.provider,
                    model=completion.model,
                    fallback=self._provider.fallback,
                    usage=completion.usage,
                    citations=completion.citations,
                )
                return await self._journal.complete(record, answer)
            except asyncio.CancelledError:
                await self._end(record.model_copy(update={"outcome": CallOutcome.CANCELLED}))
                raise
            except Unavailable:
                if time.monotonic() + pause > deadline:
                    raise
                await asyncio.sleep(pause)
                pause = min(2 * pause, 2.0)

    async def _end(self, record: CallRecord) -> None:
        """Records the end. An attempt whose end cannot be recorded is recorded as `unknown` when the next one begins."""
        try:
            await self._journal.end(record)
        except DomainError as error:
            activity.logger.warning("the end of a model call is not recorded: %s", error.type)

    def _record(self, call: SlmCall) -> CallRecord:
        info = activity.info()
        waited = info.started_time - info.current_attempt_scheduled_time
        return CallRecord(
            tenant_id=call.actor.tenant_id,
            session_id=call.session_id,
            turn_id=call.turn_id,
            workflow_id=info.workflow_id or "",
            step_key=f"turn/{call.turn_id}/complete",
            role=call.role,
            provider=self._provider.provider,
            model=self._provider.model,
            attempt=info.attempt,
            outcome=CallOutcome.STARTED,
            queue_wait_ms=max(0, round(waited.total_seconds() * 1000)),
            at=datetime.now(UTC),
        )

    async def _request(self, call: SlmCall, record: CallRecord) -> CompletionRequest:
        tenant_id = call.actor.tenant_id
        seq = await self._sessions.turn_number(tenant_id, call.session_id, call.turn_id)
        earlier = await self._sessions.conversation(tenant_id, call.session_id, seq, EXCHANGES)
        question = (await self._blobs.get(tenant_id, call.message.sha256)).decode()
        return CompletionRequest(
            messages=(
                ChatMessage(role="system", content=INSTRUCTIONS),
                *earlier,
                ChatMessage(role="user", content=question, source=call.turn_id),
            ),
            sources=await self._sources(call, {message.source for message in earlier}),
            max_output_tokens=self._output_tokens,
            idempotency_key=f"{record.workflow_id}/{record.step_key}",
        )

    async def _sources(self, call: SlmCall, said: set[str | None]) -> tuple[SourceText, ...]:
        """The session's documents, without those deleted since, and what was recalled beyond the turns already `said`."""
        sources: list[SourceText] = []
        for document_id in call.documents:
            try:
                document = await self._documents.text(call.actor.tenant_id, document_id)
            except NotFound:
                continue
            sources.append(SourceText(source=document_id, title=document.name, text=document.text))
        if call.recalled is not None:
            data = await self._blobs.get(call.actor.tenant_id, call.recalled.sha256)
            try:
                recollection = Recollection.model_validate_json(data)
            except ValidationError:
                raise DomainError("What memory recalled cannot be read.") from None
            sources += [
                SourceText(source=item.key, title="memory", text=item.text)
                for item in recollection.items
                if item.key.rpartition("/")[2] not in said
            ]
        return tuple(sources)


def _ended(record: CallRecord, outcome: CallOutcome, began: float, error_type: str | None = None) -> CallRecord:
    latency = round((time.monotonic() - began) * 1000)
    return record.model_copy(
        update={"outcome": outcome, "latency_ms": latency, "error_type": error_type, "at": datetime.now(UTC)}
    )


@asynccontextmanager
async def _heartbeats() -> AsyncGenerator[None]:
    """Beats while the provider works: a cancellation arrives with a heartbeat, and a dead worker shows by its absence."""

    async def beat() -> None:
        while True:
            activity.heartbeat()
            await asyncio.sleep(HEARTBEAT_SECONDS)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
        await asyncio.wait((beating,))
