"""The last scene: what the outbox holds of everything the tour did."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, Final

from domain.models import CallOutcome
from domain.names import EVENT_PREFIX, EventType, Topic
from workers.tour.stage import Scene, Seen, Stage, demand

_TOPICS: Final = (Topic.SESSION_EVENTS, Topic.SLM_METRICS, Topic.POLICY_DECISIONS, Topic.MODERATION_EVENTS)
_PAGE: Final = 200
_PATIENCE_SECONDS: Final = 5.0
"""An open transaction of anybody's holds back what was committed after it began."""

_TOLD_BY: Final = {Topic.SLM_METRICS: "outcome", Topic.POLICY_DECISIONS: "verdict", Topic.MODERATION_EVENTS: "severity"}
"""The member of an event's data that says most, where the type alone does not."""


def _play(stage: Stage, seen: Seen) -> None:
    sessions = {step.workflow_id.rpartition("/")[2] for step in stage.steps if step.workflow_id}
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        found = {topic: _of(stage, topic, sessions) for topic in _TOPICS}
        missing = _missing(found)
        if not missing or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    for topic, events in found.items():
        counts = Counter(_told(topic, event) for event in events)
        seen.facts[topic.value] = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
    demand(not missing, f"Of these there is none: {', '.join(missing)}.")


def _of(stage: Stage, topic: Topic, sessions: set[str]) -> list[dict[str, Any]]:
    """The topic's events since the tour began, on the tour's own sessions."""
    events: list[dict[str, Any]] = []
    after = stage.since
    while True:
        page = stage.gateway.get("/v1/events", topic=topic.value, after=after, limit=_PAGE)
        events += [event for event in page["events"] if event["subject"] in sessions]
        if len(page["events"]) < _PAGE:
            return events
        after = page["next"]


def _told(topic: Topic, event: dict[str, Any]) -> str:
    kind = str(event["type"]).removeprefix(f"{EVENT_PREFIX}.").rpartition(".")[0]
    member = _TOLD_BY.get(topic)
    return f"{kind} {event['data'][member]}" if member and member in event["data"] else kind


def _missing(found: dict[Topic, list[dict[str, Any]]]) -> list[str]:
    types = Counter(str(event["type"]) for events in found.values() for event in events)
    outcomes = Counter(event["data"]["outcome"] for event in found[Topic.SLM_METRICS])
    wanted = {
        "session.started": types[EventType.SESSION_STARTED] >= 2,
        "session.denied for each refusal": types[EventType.SESSION_DENIED] >= 2,
        "turn.completed for each answer": types[EventType.TURN_COMPLETED] >= 2,
        "decision.recorded": types[EventType.DECISION_RECORDED] > 0,
        "content.flagged": types[EventType.CONTENT_FLAGGED] > 0,
        "a completed model call for each answer": outcomes[CallOutcome.COMPLETED] >= 2,
        "the killed model call, whose outcome is unknown": outcomes[CallOutcome.UNKNOWN] > 0,
    }
    return [what for what, there in wanted.items() if not there]


EVENTS: Final = Scene(
    "events",
    "What it all left",
    "Every session, decision, flagged text and model call is an event, the killed call among them as unknown.",
    _play,
)
