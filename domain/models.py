"""A model call: what a provider is asked, what it answers, and the record every call leaves."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from domain.actors import Actor
from domain.base import Contract, Count, UtcTime
from domain.blobs import BlobRef
from domain.ids import DocumentId, SessionId, TurnId
from domain.sessions import Citation, Usage


class ChatMessage(Contract):
    """One message of the conversation, in the roles of OpenAI's chat format. `source` names the document or turn it is from."""

    role: Literal["system", "user", "assistant"]
    content: str
    source: str | None = None


class SourceText(Contract):
    """A text an answer may be drawn from; `source` is a document or turn id, or a memory's key."""

    source: str
    title: str
    text: str


class CompletionRequest(Contract):
    """What a provider is asked. `messages` end with the user's; `sources` are the documents and recalled memories."""

    messages: tuple[ChatMessage, ...] = Field(min_length=1)
    sources: tuple[SourceText, ...] = ()
    max_output_tokens: int = Field(default=1024, ge=1)
    idempotency_key: str


class Completion(Contract):
    """What a provider answered. `citations` are verbatim spans, where the provider knows them."""

    text: str
    model: str
    usage: Usage
    citations: tuple[Citation, ...] = ()
    finish_reason: str = "stop"


class CallOutcome(StrEnum):
    """How an attempt ended. `unknown`: its process died between sending and recording, so it may have been paid for."""

    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


class SlmCall(Contract):
    """Argument of the activity `slm.complete`: everything by reference."""

    actor: Actor
    session_id: SessionId
    turn_id: TurnId
    role: str
    message: BlobRef
    documents: tuple[DocumentId, ...] = ()
    recalled: BlobRef | None = None


class SlmAnswer(Contract):
    """Result of `slm.complete`: the reply by reference."""

    reply: BlobRef
    provider: str
    model: str
    fallback: bool
    usage: Usage
    citations: tuple[Citation, ...] = ()


class CallRecord(Contract):
    """The record of one attempt, on `slm.metrics`. Milliseconds and tokens are whole numbers."""

    tenant_id: str
    session_id: str | None
    turn_id: str | None = None
    workflow_id: str
    step_key: str
    role: str
    provider: str
    model: str
    attempt: int
    outcome: CallOutcome
    input_tokens: Count = 0
    output_tokens: Count = 0
    latency_ms: Count = 0
    queue_wait_ms: Count = 0
    error_type: str | None = None
    at: UtcTime
