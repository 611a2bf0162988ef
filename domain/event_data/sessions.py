"""Events of sessions and their turns."""

from __future__ import annotations

from typing import ClassVar, Final

from domain.base import Count, Sha256
from domain.decisions import Verdict
from domain.event_data.base import EventData, ReasonCode
from domain.ids import DecisionId, DocumentId, SessionId, TurnId
from domain.names import EventType, Topic
from domain.sessions import SessionStatus, Usage


class OfSession(EventData):
    """An event on a session; its subject is the session's id."""

    topic: ClassVar[Topic] = Topic.SESSION_EVENTS

    session_id: SessionId

    @property
    def about(self) -> str:
        return self.session_id


class SessionStarted(OfSession):
    """A session was allowed and takes messages. `subject` is who started it; `verdict` is `escalate` after an approval."""

    event_type: ClassVar[EventType] = EventType.SESSION_STARTED

    workflow_id: str
    verdict: Verdict
    decision_id: DecisionId
    subject: str
    documents: tuple[DocumentId, ...] = ()
    first_turn: TurnId | None = None


class SessionDenied(OfSession):
    """A session was refused, by the gate or by an approver; it never takes a message."""

    event_type: ClassVar[EventType] = EventType.SESSION_DENIED

    workflow_id: str
    verdict: Verdict
    decision_id: DecisionId
    subject: str
    reasons: tuple[ReasonCode, ...] = ()


class SessionEscalated(OfSession):
    """A session waits for an approver."""

    event_type: ClassVar[EventType] = EventType.SESSION_ESCALATED

    workflow_id: str
    decision_id: DecisionId
    subject: str
    reasons: tuple[ReasonCode, ...] = ()


class SessionClosed(OfSession):
    """A session takes no more messages. `reason` is a code: `requested`, `idle`, `cancelled`, `refused`, `kill-switch`."""

    event_type: ClassVar[EventType] = EventType.SESSION_CLOSED

    reason: str
    status: SessionStatus = SessionStatus.CLOSED


class OfTurn(OfSession):
    """An event on one turn. `seq` is the turn's number in its session, from 1."""

    turn_id: TurnId
    seq: Count


class TurnQueued(OfTurn):
    """A message was taken and will be answered in order."""

    event_type: ClassVar[EventType] = EventType.TURN_QUEUED

    client_id: str
    message_sha256: Sha256


class TurnStarted(OfTurn):
    """A turn was allowed and runs."""

    event_type: ClassVar[EventType] = EventType.TURN_STARTED

    decision_id: DecisionId | None = None
    verdict: Verdict | None = None


class TurnEscalated(OfTurn):
    """A turn waits for an approver."""

    event_type: ClassVar[EventType] = EventType.TURN_ESCALATED

    decision_id: DecisionId
    reasons: tuple[ReasonCode, ...] = ()


class TurnDenied(OfTurn):
    """A turn was refused: its message by the gate or an approver, or its reply by moderation."""

    event_type: ClassVar[EventType] = EventType.TURN_DENIED

    decision_id: DecisionId | None = None
    reasons: tuple[ReasonCode, ...] = ()


class TurnCompleted(OfTurn):
    """A turn was answered. `fallback`: by the embedded model, since no other is configured."""

    event_type: ClassVar[EventType] = EventType.TURN_COMPLETED

    provider: str
    model: str
    fallback: bool = False
    usage: Usage = Usage()
    reply_sha256: Sha256
    citations: Count = 0


class TurnFailed(OfTurn):
    """A turn could not be answered. `error_type` is the wire type of the error (`model-unavailable`)."""

    event_type: ClassVar[EventType] = EventType.TURN_FAILED

    error_type: str


class TurnCancelled(OfTurn):
    """A turn was stopped before it was answered."""

    event_type: ClassVar[EventType] = EventType.TURN_CANCELLED


EVENTS: Final = (
    SessionStarted,
    SessionDenied,
    SessionEscalated,
    SessionClosed,
    TurnQueued,
    TurnStarted,
    TurnEscalated,
    TurnDenied,
    TurnCompleted,
    TurnFailed,
    TurnCancelled,
)
