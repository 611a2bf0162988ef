"""Events carry ids, numbers and hashes under the type and topic their model names."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from domain.decisions import Decision, Reason, Verdict
from domain.event_data import EVENT_DATA
from domain.event_data.base import new_event
from domain.event_data.decisions import DecisionRecorded
from domain.event_data.sessions import TurnFailed
from domain.event_data.slm import SlmCallRecorded
from domain.models import CallOutcome, CallRecord
from domain.names import EventType, Topic

SESSION = "ses_" + "1" * 32
TURN = "trn_" + "2" * 32
AT = datetime(2026, 11, 23, tzinfo=UTC)


def record(session_id: str | None) -> CallRecord:
    return CallRecord(
        tenant_id="demo",
        session_id=session_id,
        workflow_id=f"session/demo/{SESSION}",
        step_key="slm",
        role="dialogue_reasoning",
        provider="soma",
        model="soma-extractive",
        attempt=1,
        outcome=CallOutcome.COMPLETED,
        at=AT,
    )


def test_every_type_has_one_model_and_every_topic_a_type() -> None:
    assert set(EVENT_DATA) == set(EventType)
    assert {model.topic for model in EVENT_DATA.values()} == set(Topic)


def test_an_event_of_a_turn_is_about_its_session() -> None:
    event = new_event("evt_1", TurnFailed(session_id=SESSION, turn_id=TURN, seq=3, error_type="model-unavailable"), "00-a-b-01")
    assert (event.topic, event.type, event.subject) == (Topic.SESSION_EVENTS, EventType.TURN_FAILED, SESSION)
    assert event.data == {"session_id": SESSION, "turn_id": TURN, "seq": 3, "error_type": "model-unavailable"}
    assert event.traceparent == "00-a-b-01"


@pytest.mark.parametrize(("session_id", "subject"), [(SESSION, SESSION), (None, f"session/demo/{SESSION}")])
def test_a_call_record_becomes_an_event_with_all_its_fields(session_id: str | None, subject: str) -> None:
    event = new_event("evt_1", SlmCallRecorded.of(record(session_id)))
    assert event.subject == subject
    assert event.data == record(session_id).model_dump(mode="json")


def test_a_decision_tells_codes_and_never_its_sentences() -> None:
    decision = Decision(
        decision_id="dec_" + "3" * 32,
        verdict=Verdict.DENY,
        reasons=(Reason(checker="moderation", code="self-harm", message="marker sentence"),),
        score=700,
        input_digest="a" * 64,
        decided_at=AT,
    )
    event = new_event("evt_1", DecisionRecorded.of(decision, f"session/demo/{SESSION}", SESSION))
    assert event.subject == SESSION
    assert event.data["reasons"] == [{"checker": "moderation", "code": "self-harm"}]
    assert "marker" not in event.model_dump_json()


def test_a_model_takes_no_unknown_field() -> None:
    with pytest.raises(ValidationError):
        TurnFailed.model_validate({"session_id": SESSION, "turn_id": TURN, "seq": 1, "error_type": "x", "text": "secret"})
