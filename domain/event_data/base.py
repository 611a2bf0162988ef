"""What every event model stands on, and the event that tells one."""

from __future__ import annotations

from typing import ClassVar

from domain.base import Contract
from domain.decisions import Decision
from domain.events import NewEvent
from domain.names import EventType, Topic


class EventData(Contract):
    """Base of all. `event_type` and `topic` say which event carries the model."""

    event_type: ClassVar[EventType]
    topic: ClassVar[Topic]

    @property
    def about(self) -> str:
        """The event's `subject`: the session or document it belongs to."""
        raise NotImplementedError


class ReasonCode(Contract):
    """A decision's reason without its sentence."""

    checker: str
    code: str


def reason_codes(decision: Decision) -> tuple[ReasonCode, ...]:
    """The reasons of a decision, as events carry them."""
    return tuple(ReasonCode(checker=reason.checker, code=reason.code) for reason in decision.reasons)


def new_event(event_id: str, data: EventData, traceparent: str | None = None) -> NewEvent:
    """The event that tells `data`: its type, topic and subject are the model's."""
    return NewEvent(
        event_id=event_id,
        topic=data.topic,
        type=data.event_type,
        subject=data.about,
        data=data.model_dump(mode="json"),
        traceparent=traceparent,
    )
