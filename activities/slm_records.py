"""Records and reservations of model calls: which model is asked, what it may use at most, what became of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from temporalio import activity

from domain import delegation
from domain.bounds import completion_input_bound, embedding_input_bound
from domain.budgets import BudgetKey, BudgetScope, Reservation, Settlement
from domain.catalogue import Catalogue, ModelConfig, RoleConfig
from domain.errors import DomainError, ModelContentFiltered, ModelRefused, ModelStreamBroken, ModelTimedOut
from domain.models import (
    CallOutcome,
    CallRecord,
    Candidate,
    CompletionRequest,
    EmbeddingRequest,
    FinishReason,
    SlmCall,
    ToolCall,
)
from domain.ports.models import ModelProvider, Prices
from domain.prices import cost
from domain.sessions import Citation, Usage

HOLD_MARGIN_SECONDS: Final = 120
"""How much longer than a provider's own time-out a reservation is held before the sweep takes its attempt for lost."""


@dataclass(frozen=True)
class Asked:
    """The one model of a call, with the profile of its role and the step's key."""

    candidate: Candidate
    model: ModelConfig
    role: RoleConfig
    step_key: str
    key: str
    timeout_seconds: float

    def output_limit(self, wanted: int) -> int:
        """Output tokens asked for, within what the model can."""
        return min(wanted, self.model.max_output_tokens) if self.model.max_output_tokens else wanted


@dataclass(frozen=True)
class Said:
    """What a provider answered, of whichever kind."""

    body: bytes
    media_type: str
    model: str
    usage: Usage
    finish_reason: str = "stop"
    tool_calls: tuple[ToolCall, ...] = ()
    citations: tuple[Citation, ...] = ()
    first_token_ms: int | None = None


class CallRecords:
    """Makes the record and the reservation of an attempt."""

    def __init__(self, catalogue: Catalogue, prices: Prices, *, mode: str, unpriced_counts: bool, region: str) -> None:
        """`mode` is the deployment mode; `unpriced_counts`: budgets in money leave out calls whose price is not known."""
        self._catalogue, self._prices, self._region = catalogue, prices, region
        self._mode, self._unpriced_counts = mode, unpriced_counts

    def asked(self, call: SlmCall) -> Asked:
        """Which model the call asks. Raises UnknownModel."""
        role = self._catalogue.role(call.role, call.actor.tenant_id, self._mode)
        model = self._catalogue.model(str(call.candidate) if call.candidate else role.models[0])
        info = activity.info()
        step = f"turn/{call.turn_id}/complete" if call.turn_id else "request"
        step_key = f"{step}/{call.number}" if call.number else step
        return Asked(
            candidate=model.candidate,
            model=model,
            role=role,
            step_key=step_key,
            key=f"{info.workflow_id}/{step_key}",
            timeout_seconds=self._catalogue.providers[model.provider].timeout_seconds,
        )

    def of_completion(self, call: SlmCall, asked: Asked, request: CompletionRequest) -> tuple[CallRecord, Reservation]:
        """Of an attempt at an answer."""
        return self._both(call, asked, completion_input_bound(request), request.max_output_tokens)

    def of_embedding(self, call: SlmCall, asked: Asked, request: EmbeddingRequest) -> tuple[CallRecord, Reservation]:
        """Of an attempt at vectors, which have no output tokens."""
        return self._both(call, asked, embedding_input_bound(request), 0)

    def measured(self, record: CallRecord, said: Said, settlement: Settlement) -> CallRecord:
        """The record with what was used and what that costs."""
        used = said.usage
        priced = self._prices.find(Candidate(provider=record.provider, model=record.model), used.input_tokens)
        return record.model_copy(
            update={
                "model": said.model,
                "input_tokens": used.input_tokens,
                "output_tokens": used.output_tokens,
                "settlement": settlement,
                "cost_micros": cost(priced.price, used.input_tokens, used.output_tokens) if priced else None,
                "currency": priced.price.currency if priced else None,
                "price_snapshot": priced.snapshot if priced else None,
                "first_token_ms": said.first_token_ms,
            }
        )

    def _both(self, call: SlmCall, asked: Asked, input_bound: int, output_bound: int) -> tuple[CallRecord, Reservation]:
        info = activity.info()
        waited = info.started_time - info.current_attempt_scheduled_time
        priced = self._prices.find(asked.candidate, input_bound)
        record = CallRecord(
            tenant_id=call.actor.tenant_id,
            session_id=call.session_id,
            turn_id=call.turn_id,
            request_id=call.request_id,
            subject=call.actor.subject,
            workflow_id=info.workflow_id or "",
            step_key=asked.step_key,
            role=call.role,
            provider=asked.candidate.provider,
            model=asked.candidate.model,
            attempt=info.attempt,
            outcome=CallOutcome.STARTED,
            queue_wait_ms=max(0, round(waited.total_seconds() * 1000)),
            lane=call.lane.name.lower(),
            input_bytes=input_bound,
            forecast_tokens=call.forecast_tokens,
            price_snapshot=priced.snapshot if priced else None,
            region=self._region,
            at=datetime.now(UTC),
        )
        reservation = Reservation(
            keys=_keys(call),
            tokens=input_bound + output_bound,
            micros=cost(priced.price, input_bound, output_bound) if priced else None,
            currency=priced.price.currency if priced else None,
            price_snapshot=priced.snapshot if priced else None,
            seconds=round(asked.timeout_seconds) + HOLD_MARGIN_SECONDS,
            unpriced_counts=self._unpriced_counts,
        )
        return record, reservation


def _keys(call: SlmCall) -> tuple[BudgetKey, ...]:
    """Every scope the call belongs to, each once."""
    keys = [BudgetKey(scope=BudgetScope.TENANT, scope_id=call.actor.tenant_id)]
    if call.session_id is not None:
        keys.append(BudgetKey(scope=BudgetScope.SESSION, scope_id=call.session_id))
    keys.extend(delegation.budget_keys(call.actor))
    return tuple({(key.scope, key.scope_id): key for key in (*keys, *call.keys)}.values())


def ended(
    record: CallRecord, outcome: CallOutcome, began: float, settlement: Settlement | None = None, error_type: str | None = None
) -> CallRecord:
    """The record of an attempt that has ended now; `began` is a monotonic time."""
    latency = round((time.monotonic() - began) * 1000)
    changes = {"outcome": outcome, "latency_ms": latency, "error_type": error_type, "at": datetime.now(UTC)}
    return record.model_copy(update=changes | {"settlement": settlement})


def owed(provider: ModelProvider, error: Exception | None = None) -> Settlement:
    """What an attempt without an answer may owe.

    A vendor that refused owes nothing; one that was cut off, timed out or stopped may have done the work. So may one whose
    adapter raised what nobody expected.
    """
    if not provider.external:
        return Settlement.RELEASED
    refused = isinstance(error, DomainError) and not isinstance(error, ModelTimedOut | ModelStreamBroken)
    # What our moderation cut off was being written.
    refused = refused and not (isinstance(error, DomainError) and error.members.get("cut_off"))
    return Settlement.RELEASED if refused else Settlement.UNKNOWN


def empty(call: SlmCall, said: Said) -> ModelRefused | None:
    """The error of an answer without any content; None for one that has some, and for a request of its own whose output limit
    left no room: its caller is told that by the finish reason."""
    if said.body or said.tool_calls:
        return None
    if said.finish_reason == FinishReason.LENGTH:
        allow = "The model used its whole length without an answer; allow longer answers or ask another model."
        return ModelRefused(allow) if call.input is None else None
    return ModelContentFiltered("The model's own filter withheld the answer; ask in other words.")
