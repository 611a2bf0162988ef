"""One attempt at one model: everything in and out by reference, reserved before it is sent, journalled before it is returned.

The journal makes a retry harmless: an answer that a former attempt completed is found, not asked for again, and an
attempt that died between asking and recording is recorded as `unknown`, billed at its bound, before another one is made.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, Protocol

from temporalio import activity

from activities.effects import Effect, Effects
from activities.errors import as_failure, translate_errors
from activities.slm_inputs import ModelInputs
from activities.slm_records import Asked, CallRecords, Said, empty, ended, owed
from domain.blobs import TEXT
from domain.budgets import Settlement
from domain.catalogue import Catalogue
from domain.errors import (
    DependencyUnavailable,
    DomainError,
    ModelContentFiltered,
    ModelOverloaded,
    ModelRateLimited,
    ModelRefused,
    ModelStreamBroken,
    ModelUnavailable,
    Unavailable,
)
from domain.models import (
    CallOutcome,
    CallRecord,
    ChatMessage,
    Completion,
    CompletionRequest,
    EmbeddingRequest,
    SlmAnswer,
    SlmCall,
)
from domain.names import ActivityName, Lane
from domain.ports.blobs import BlobStore
from domain.ports.models import Breakers, CallJournal, ModelProvider, ProviderLimits
from domain.ports.slm import Forecasts
from domain.slm import EmbeddingOutput

HEARTBEAT_SECONDS: Final = 1.0
KEEP_SECONDS: Final = 30.0
"""How long an answer that came is offered to a store that does not take it."""
PATIENCE_SECONDS: Final = 5.0
"""A pause that a vendor asks for and that is longer is spent on another model, where there is one."""
TURN_SECONDS: Final = {Lane.BATCH: 60.0, Lane.BACKGROUND: 60.0}
"""How long a call waits for its turn under a provider's limit before it goes back into the queue; other lanes: the patience."""
JSON: Final = "application/json"


class AnswerStream(Protocol):
    """One answer on its way to its reader."""

    async def feed(self, text: str) -> None:
        """Hands on a piece. Raises ModelContentFiltered when moderation refuses it, which ends the call."""
        ...


class Streams(Protocol):
    """Makes the ways of answers to their readers."""

    def opened(self, call: SlmCall, attempt: int) -> AbstractAsyncContextManager[AnswerStream]:
        """The stream of an attempt; its end, however it comes, is told to the reader."""
        ...


class SlmActivities:
    """What the queues `slm` and `slm-batch` do."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        providers: Mapping[str, ModelProvider],
        inputs: ModelInputs,
        records: CallRecords,
        journal: CallJournal,
        blobs: BlobStore,
        breakers: Breakers,
        limits: ProviderLimits,
        forecasts: Forecasts,
        effects: Effects,
        streams: Streams | None = None,
    ) -> None:
        """`providers` by their configured names; `streams` carries an answer to its reader while it is written."""
        self._effects = effects
        self._catalogue, self._providers = catalogue, providers
        self._inputs, self._records = inputs, records
        self._journal, self._blobs = journal, blobs
        self._breakers, self._limits, self._forecasts = breakers, limits, forecasts
        self._streams = streams

    @activity.defn(name=ActivityName.SLM_COMPLETE.value)
    async def complete(self, call: SlmCall) -> SlmAnswer:
        """The answer, by reference. Fails with the class of error that decides between retry, fallback and stop."""
        async with _heartbeats():
            with translate_errors():
                asked = self._records.asked(call)
                effect = self._effects.new(call.actor, provider=asked.candidate.provider)
                request = await self._inputs.completion(call, asked.role, asked.key)
                request = request.model_copy(update={"max_output_tokens": asked.output_limit(request.max_output_tokens)})
                record, reservation = self._records.of_completion(call, asked, request)
                provider = await self._admitted(call, asked)
                if kept := await self._journal.begin(record, reservation):
                    return kept
                work = functools.partial(self._completed, call, asked, provider, request)
                return await self._finish(call, record, provider, effect, work)

    @activity.defn(name=ActivityName.SLM_EMBED.value)
    async def embed(self, call: SlmCall) -> SlmAnswer:
        """The vectors, by reference. Fails as `complete` does."""
        async with _heartbeats():
            with translate_errors():
                asked = self._records.asked(call)
                effect = self._effects.new(call.actor, provider=asked.candidate.provider)
                request = await self._inputs.embedding(call, asked.key)
                record, reservation = self._records.of_embedding(call, asked, request)
                provider = await self._admitted(call, asked)
                if kept := await self._journal.begin(record, reservation):
                    return kept
                return await self._finish(call, record, provider, effect, functools.partial(_embedded, provider, asked, request))

    async def _admitted(self, call: SlmCall, asked: Asked) -> ModelProvider:
        """The provider, once its breaker and its limit let the call through. Raises ModelOverloaded, ModelRateLimited."""
        name = asked.candidate.provider
        state = await self._breakers.state(name)
        if state.open and not state.probe:
            error = ModelOverloaded("The provider failed too often just now; it is asked again shortly.", retry_after=2)
            raise as_failure(error, final=not call.last)
        per_second = self._catalogue.providers[name].requests_per_second
        if per_second is not None:
            await self._wait_for_turn(call, name, per_second)
        return self._providers[name]

    async def _wait_for_turn(self, call: SlmCall, name: str, per_second: float) -> None:
        deadline = time.monotonic() + TURN_SECONDS.get(call.lane, PATIENCE_SECONDS)
        while (wait := await self._limits.take(name, per_second, call.lane)) > 0:
            if time.monotonic() + wait > deadline:
                raise ModelRateLimited(
                    "The provider's limit is used up; the call waits for its turn.", retry_after=max(1.0, wait)
                )
            await asyncio.sleep(wait)

    async def _completed(self, call: SlmCall, asked: Asked, provider: ModelProvider, request: CompletionRequest) -> Said:
        if not call.stream or self._streams is None:
            return _said(await provider.complete(asked.candidate.model, request))
        began, first, whole = time.monotonic(), None, None
        async with self._streams.opened(call, activity.info().attempt) as stream:
            async for item in provider.stream(asked.candidate.model, request):
                if isinstance(item, Completion):
                    whole = item
                    continue
                first = first if first is not None else round((time.monotonic() - began) * 1000)
                await _passed(stream, item.text)
        if whole is None:
            raise ModelStreamBroken("The provider ended its stream without an answer.")
        return dataclasses.replace(_said(whole), first_token_ms=first)

    async def _finish(
        self, call: SlmCall, record: CallRecord, provider: ModelProvider, effect: Effect, work: Callable[[], Awaitable[Said]]
    ) -> SlmAnswer:
        """Asks, and keeps what is said. However the asking ends, journal and breaker are told."""
        began = time.monotonic()
        try:
            with effect.begun():
                said = await work()
        except asyncio.CancelledError:
            await self._end(ended(effect.timed(record), CallOutcome.CANCELLED, began, owed(provider)))
            raise
        except Exception as error:
            await self._failed(effect.timed(record), provider, began, error)
            if isinstance(error, ModelUnavailable) and not call.last and (error.retry_after or 0) > PATIENCE_SECONDS:
                raise as_failure(error, final=True) from None
            raise
        await self._breakers.succeeded(record.provider)
        # Usage that the vendor did not report may be anything up to the bound.
        settlement = Settlement.UNKNOWN if provider.external and said.usage.estimated else Settlement.SETTLED
        done = self._records.measured(ended(effect.timed(record), CallOutcome.COMPLETED, began), said, settlement)
        if (error := empty(call, said)) is not None:
            await self._end(done.model_copy(update={"outcome": CallOutcome.FAILED, "error_type": error.type}))
            raise error
        carrying = asyncio.create_task(self._carry(done))
        try:
            return await self._keep(done, provider, said)
        finally:
            await carrying

    async def _failed(self, record: CallRecord, provider: ModelProvider, began: float, error: Exception) -> None:
        kind = error.type if isinstance(error, DomainError) else DomainError.type
        await self._end(ended(record, CallOutcome.FAILED, began, owed(provider, error), kind))
        if isinstance(error, ModelRefused):
            # It answered, which is all a breaker asks.
            await self._breakers.succeeded(record.provider)
        elif isinstance(error, ModelUnavailable) and not isinstance(error, ModelRateLimited):
            await self._breakers.failed(record.provider)

    async def _carry(self, record: CallRecord) -> None:
        """Puts what the forecast was wrong by on the tenant's account; of a store that is away it is not asked again."""
        with contextlib.suppress(DependencyUnavailable):
            await self._forecasts.carry(record.tenant_id, record.input_tokens + record.output_tokens - record.forecast_tokens)

    async def _keep(self, record: CallRecord, provider: ModelProvider, said: Said) -> SlmAnswer:
        """The answer, journalled. It has been paid for, so a store that is away is waited for before it is given up."""
        deadline = time.monotonic() + KEEP_SECONDS
        pause = 0.2
        while True:
            try:
                return await self._journal.complete(record, await self._written(record, provider, said))
            except asyncio.CancelledError:
                await self._end(record.model_copy(update={"outcome": CallOutcome.CANCELLED}))
                raise
            except Unavailable:
                if time.monotonic() + pause > deadline:
                    raise
                await asyncio.sleep(pause)
                pause = min(2 * pause, 2.0)

    async def _written(self, record: CallRecord, provider: ModelProvider, said: Said) -> SlmAnswer:
        reply = await self._blobs.put(record.tenant_id, said.body, said.media_type)
        message = None
        if said.tool_calls:
            whole = ChatMessage(role="assistant", content=said.body.decode(), tool_calls=said.tool_calls)
            message = await self._blobs.put(record.tenant_id, whole.model_dump_json().encode(), JSON)
        return SlmAnswer(
            reply=reply,
            provider=record.provider,
            model=said.model,
            fallback=not provider.external,
            usage=said.usage,
            citations=said.citations,
            finish_reason=said.finish_reason,
            message=message,
            attempt=record.attempt,
            cost_micros=record.cost_micros,
            currency=record.currency,
            price_snapshot=record.price_snapshot,
        )

    async def _end(self, record: CallRecord) -> None:
        """Records the end. An attempt whose end cannot be recorded is recorded as `unknown` when the next one begins."""
        try:
            await self._journal.end(record)
        except DomainError as error:
            activity.logger.warning("the end of a model call is not recorded: %s", error.type)


async def _passed(stream: AnswerStream, text: str) -> None:
    """Hands on a piece. What ours refuses, the vendor has written, and may bill."""
    try:
        await stream.feed(text)
    except ModelContentFiltered as error:
        raise ModelContentFiltered(error.detail, cut_off=True) from None


def _said(completion: Completion) -> Said:
    return Said(
        body=completion.text.encode(),
        media_type=TEXT,
        model=completion.model,
        usage=completion.usage,
        finish_reason=completion.finish_reason,
        tool_calls=completion.tool_calls,
        citations=completion.citations,
    )


async def _embedded(provider: ModelProvider, asked: Asked, request: EmbeddingRequest) -> Said:
    answer = await provider.embed(asked.candidate.model, request)
    body = EmbeddingOutput(vectors=answer.vectors).model_dump_json().encode()
    return Said(body=body, media_type=JSON, model=answer.model, usage=answer.usage)


@asynccontextmanager
async def _heartbeats() -> AsyncGenerator[None]:
    """Beats while the provider works: a cancellation arrives with a heartbeat, and a dead worker shows by its absence."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            activity.heartbeat()

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
        await asyncio.wait((beating,))
