"""Events of model requests and of every attempt at a model call."""

from __future__ import annotations

from typing import ClassVar, Final

from domain.base import Count, Sha256
from domain.decisions import Verdict
from domain.event_data.base import EventData
from domain.ids import DecisionId, SlmRequestId
from domain.models import CallRecord
from domain.names import EventType, Topic
from domain.sessions import Usage


class OfSlmRequest(EventData):
    """An event on a model request of its own; its subject is the request's id."""

    request_id: SlmRequestId

    @property
    def about(self) -> str:
        return self.request_id


class SlmRequestAccepted(OfSlmRequest):
    """A model request was decided on. `verdict` `deny` ends it; `escalate` makes it wait for an approver."""

    event_type: ClassVar[EventType] = EventType.SLM_REQUEST_ACCEPTED
    topic: ClassVar[Topic] = Topic.SLM_REQUESTS

    workflow_id: str
    kind: str
    role: str
    lane: str
    subject: str
    verdict: Verdict
    decision_id: DecisionId
    forecast_tokens: Count = 0
    input_sha256: Sha256


class SlmRequestEnded(OfSlmRequest):
    """A model request has ended. `status` is its last one; of a completed one the answer's digest and what it cost."""

    event_type: ClassVar[EventType] = EventType.SLM_REQUEST_ENDED
    topic: ClassVar[Topic] = Topic.SLM_RESPONSES

    status: str
    provider: str | None = None
    model: str | None = None
    finish_reason: str | None = None
    usage: Usage = Usage()
    cost_micros: Count | None = None
    currency: str | None = None
    price_snapshot: str | None = None
    reply_sha256: Sha256 | None = None
    error_type: str | None = None


class SlmCallRecorded(CallRecord, EventData):
    """One attempt at a model call, as it ended. Its subject is the session or the model request it belongs to."""

    event_type: ClassVar[EventType] = EventType.SLM_CALL_RECORDED
    topic: ClassVar[Topic] = Topic.SLM_METRICS

    @property
    def about(self) -> str:
        return self.session_id or self.request_id or self.workflow_id

    @classmethod
    def of(cls, record: CallRecord) -> SlmCallRecorded:
        """The event of a record."""
        return cls(**dict(record))


EVENTS: Final = (
    SlmRequestAccepted,
    SlmRequestEnded,
    SlmCallRecorded,
)
