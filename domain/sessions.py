"""A session: what starts it, what it is asked, and how it reads. References and ids only, never a text."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from pydantic import Field

from domain.actors import Actor
from domain.base import Contract, Count, TenantId, UtcTime
from domain.blobs import BlobRef
from domain.decisions import Decision, GateRequest, Resolution
from domain.ids import DecisionId, DocumentId, SessionId, SlmRequestId, TurnId

DEFAULT_ROLE = "dialogue_reasoning"


class SessionStatus(StrEnum):
    """`open` takes messages; the others do not."""

    AWAITING_APPROVAL = "awaiting_approval"
    OPEN = "open"
    DENIED = "denied"
    CLOSED = "closed"


CANCELLED_REASON: Final = "cancelled"
KILL_SWITCH_REASON: Final = "kill-switch"
ENDING_REASONS: Final = frozenset({CANCELLED_REASON, KILL_SWITCH_REASON})
"""Why a session's run was ended from outside: turns it had taken are then not answered."""


class TurnStatus(StrEnum):
    """A turn's way: queued, running (or awaiting an approver), then one of the last four."""

    QUEUED = "queued"
    RUNNING = "running"
    AWAITING_APPROVAL = "awaiting_approval"
    COMPLETED = "completed"
    DENIED = "denied"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL_TURN_STATUSES = frozenset({TurnStatus.COMPLETED, TurnStatus.DENIED, TurnStatus.FAILED, TurnStatus.CANCELLED})


class Turn(Contract):
    """One message to be answered. `request_key` is the caller's Idempotency-Key, unique per client."""

    turn_id: TurnId
    seq: Count
    request_key: str
    actor: Actor
    message: BlobRef


class CarriedState(Contract):
    """What a session takes across continue-as-new."""

    decision: Decision
    queue: tuple[Turn, ...] = ()
    answered: tuple[tuple[str, str, str], ...] = ()
    """The last 1,000 requests: request key, turn id, message digest."""


class SessionInput(Contract):
    """Argument of the session workflow."""

    session_id: SessionId
    actor: Actor
    request_key: str
    prompt: BlobRef | None = None
    first_turn: TurnId | None = None
    documents: tuple[DocumentId, ...] = ()
    document_bytes: Count = 0
    persona: str | None = None
    model_role: str = DEFAULT_ROLE
    run_turns: bool = True
    """False only in the start benchmark, which measures the decision without a model."""
    region: str
    idle_seconds: int = Field(default=86_400, ge=1)
    approval_seconds: int = Field(default=86_400, ge=1)
    metadata: BlobRef | None = None
    """The caller's own labels, as canonical JSON; they are the caller's words."""
    carried: CarriedState | None = None


class StartOutcome(Contract):
    """What the update `started` returns."""

    decision: Decision
    status: SessionStatus
    turn_id: TurnId | None = None


class SendRequest(Contract):
    """Argument of the update `send`."""

    turn_id: TurnId
    request_key: str
    actor: Actor
    message: BlobRef


class QueueCall(Contract):
    """Argument of `turn.queue`, which returns the turn's number in its session."""

    session_id: SessionId
    request: SendRequest


class SendRefusal(StrEnum):
    """Why a message was not taken."""

    CLOSED = "closed"
    FULL = "full"
    KEY_REUSED = "key_reused"
    NOT_OPEN = "not_open"


class SendOutcome(Contract):
    """Either the turn that will answer, or why there is none. A repeated request key gets the first turn."""

    turn_id: TurnId | None = None
    refusal: SendRefusal | None = None


class CancelOutcome(Contract):
    """The turn that was stopped, or none when none ran."""

    turn_id: TurnId | None = None


class ReviewCall(Contract):
    """Argument of `turn.review`: the reply that output moderation looks at."""

    session_id: SessionId
    turn: Turn
    reply: BlobRef
    request: GateRequest
    decision_id: DecisionId


class OpenCall(Contract):
    """Argument of `session.open`: what the gate is asked, and the id its decision gets."""

    session: SessionInput
    request: GateRequest
    decision_id: DecisionId


class OpenTurnCall(Contract):
    """Argument of `turn.open`."""

    session_id: SessionId
    turn: Turn
    request: GateRequest
    decision_id: DecisionId


class CloseTurnCall(Contract):
    """Argument of `turn.close`."""

    tenant_id: TenantId
    session_id: SessionId
    turn_id: TurnId
    result: TurnResult


class CloseCall(Contract):
    """Argument of `session.close`."""

    tenant_id: TenantId
    session_id: SessionId
    status: SessionStatus
    reason: str


class ResolveCall(Contract):
    """Argument of `decision.resolve`; the decision may also be a model request's."""

    tenant_id: TenantId
    session_id: SessionId | SlmRequestId
    resolution: Resolution
    comment: BlobRef | None = None
    """Becomes the resolution's comment in its row."""


class ResolveOutcome(Contract):
    """The answer that stands, the approver's or an earlier one, without words; none when no such decision waits."""

    resolution: Resolution | None = None


class RunTurnCall(Contract):
    """Argument of `turn.run`."""

    tenant_id: TenantId
    session_id: SessionId
    turn_id: TurnId


class ResolveRequest(Contract):
    """Argument of the update `resolve`: an approver's answer to an escalated decision."""

    actor: Actor
    decision_id: DecisionId
    approved: bool
    comment: BlobRef | None = None


class Citation(Contract):
    """A sentence of an answer and where it stands: `source` is a document or turn id, offsets count characters of its text."""

    source: str
    start: Count
    end: Count


class TurnError(Contract):
    """Why a turn failed: the wire type of the error and a sentence without any text of the request."""

    type: str
    detail: str


class TurnWarning(StrEnum):
    """What an answered turn had to do without."""

    NOT_RECALLED = "memory-not-recalled"
    NOT_REMEMBERED = "memory-not-remembered"


class Usage(Contract):
    """Tokens of one model call. `estimated` when the provider reported none."""

    input_tokens: Count = 0
    output_tokens: Count = 0
    estimated: bool = False

    @property
    def total(self) -> int:
        """Input and output."""
        return self.input_tokens + self.output_tokens


class TurnResult(Contract):
    """How a turn ended, as its closing activity is told."""

    status: TurnStatus
    reply: BlobRef | None = None
    provider: str | None = None
    model: str | None = None
    fallback: bool = False
    usage: Usage = Usage()
    citations: tuple[Citation, ...] = ()
    decision: Decision | None = None
    error: TurnError | None = None
    warnings: tuple[TurnWarning, ...] = ()


class TurnView(Contract):
    """A turn as it reads, with texts."""

    turn_id: TurnId
    session_id: SessionId
    seq: Count
    status: TurnStatus
    content: str
    reply: str | None = None
    provider: str | None = None
    model: str | None = None
    fallback: bool = False
    usage: Usage = Usage()
    citations: tuple[Citation, ...] = ()
    decision: Decision | None = None
    error: TurnError | None = None
    warnings: tuple[TurnWarning, ...] = ()
    created_at: UtcTime
    completed_at: UtcTime | None = None


class SessionView(Contract):
    """A session as it reads."""

    session_id: SessionId
    workflow_id: str
    run_id: str | None
    subject: str
    status: SessionStatus
    decision: Decision
    resolution: Resolution | None = None
    persona: str | None = None
    model_role: str
    documents: tuple[DocumentId, ...] = ()
    metadata: dict[str, str] = Field(default_factory=dict)
    turns: Count = 0
    created_at: UtcTime
    updated_at: UtcTime
    closed_at: UtcTime | None = None
    close_reason: str | None = None
