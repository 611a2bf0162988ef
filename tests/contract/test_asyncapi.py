"""docs/asyncapi.yaml is a valid AsyncAPI 3.0 document that describes every topic and event type, and nothing else."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from adapters.cloudevents import kafka_message, kafka_reference
from api.asyncapi import render
from domain.decisions import Verdict
from domain.event_data import EVENT_DATA
from domain.event_data.base import EventData, ReasonCode, new_event
from domain.event_data.decisions import ContentFlagged, DecisionRecorded
from domain.event_data.sessions import SessionStarted, TurnCompleted
from domain.event_data.slm import SlmCallRecorded
from domain.events import Position, StoredEvent
from domain.models import CallOutcome
from domain.names import EventType, Topic
from domain.sessions import Usage

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/asyncapi.yaml"
SCHEMA = ROOT / "tests/data/asyncapi-3.0.0.json"
SESSION, TURN, DECISION, SHA = "ses_" + "1" * 32, "trn_" + "2" * 32, "dec_" + "3" * 32, "a" * 64
AT = datetime(2026, 11, 23, tzinfo=UTC)

SAMPLES: tuple[EventData, ...] = (
    SessionStarted(session_id=SESSION, workflow_id="w", verdict=Verdict.WARN, decision_id=DECISION, subject="s", first_turn=TURN),
    TurnCompleted(
        session_id=SESSION, turn_id=TURN, seq=1, provider="p", model="m", usage=Usage(input_tokens=3), reply_sha256=SHA
    ),
    SlmCallRecorded(
        tenant_id="demo",
        session_id=None,
        workflow_id="w",
        step_key="slm",
        role="r",
        provider="p",
        model="m",
        attempt=1,
        outcome=CallOutcome.UNKNOWN,
        at=AT,
    ),
    DecisionRecorded(
        decision_id=DECISION,
        verdict=Verdict.DENY,
        score=1000,
        reasons=(ReasonCode(checker="policy", code="no"),),
        input_digest=SHA,
        workflow_id="w",
        resource=SESSION,
    ),
    ContentFlagged.model_validate(
        {
            "resource": SESSION,
            "direction": "output",
            "severity": "high",
            "rule_ids": ["r"],
            "categories": ["c"],
            "verdict": "deny",
        }
    ),
)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return yaml.safe_load(PAGE.read_text())


@pytest.fixture(scope="module")
def specification() -> Any:
    return jsonschema.Draft7Validator(json.loads(SCHEMA.read_text()))


def resolved(document: dict[str, Any], reference: str) -> dict[str, Any]:
    """What a reference within the document leads to."""
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def check(document: dict[str, Any], name: str, value: object) -> None:
    """Raises ValidationError unless the value is of that schema."""
    whole = {**document["components"]["schemas"][name], "components": document["components"]}
    validator: Any = jsonschema.Draft7Validator(whole, format_checker=jsonschema.FormatChecker())
    validator.validate(value)


def stored(data: EventData) -> StoredEvent:
    new = new_event("evt_" + "4" * 32, data, f"00-{'a' * 32}-{'b' * 16}-01")
    return StoredEvent(**dict(new), tenant_id="demo", position=Position(xid=7, seq=2), time=AT)


def test_the_page_is_what_the_models_say() -> None:
    assert PAGE.read_text() == render(), "docs/asyncapi.yaml is out of date: run `make docs`"


def test_it_is_a_valid_document(document: dict[str, Any], specification: Any) -> None:
    specification.validate(document)
    broken = copy.deepcopy(document)
    broken["operations"]["send_session_events"]["action"] = "shout"
    assert not specification.is_valid(broken)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def walk(value: Any) -> int:
        if "$ref" in value:
            assert resolved(document, value["$ref"])
            return 1
        inner: list[Any] = list(value.values()) if hasattr(value, "values") else value
        return sum(walk(item) for item in inner if isinstance(item, dict | list))

    assert walk(document) > 2 * len(EventType)


def test_every_topic_and_type_is_there_and_nothing_else(document: dict[str, Any]) -> None:
    channels: dict[str, Any] = document["channels"]
    assert {channel["address"] for channel in channels.values()} == {topic.value for topic in Topic}
    told: dict[str, str] = {}
    for channel in channels.values():
        for reference in channel["messages"].values():
            told[resolved(document, reference["$ref"])["name"]] = channel["address"]
    assert told == {event.value: EVENT_DATA[event].topic.value for event in EventType}
    assert {message["name"] for message in document["components"]["messages"].values()} == {event.value for event in EventType}
    sent = [
        resolved(document, reference["$ref"])
        for operation in document["operations"].values()
        for reference in operation["messages"]
    ]
    assert len(sent) == len(EventType)
    assert all(message["summary"] for message in document["components"]["messages"].values())


@pytest.mark.parametrize("data", SAMPLES, ids=lambda data: type(data).__name__)
def test_what_is_written_is_what_is_described(document: dict[str, Any], data: EventData) -> None:
    event = stored(data)
    name = type(data).__name__
    check(document, name, event.data)
    # A field that comes later must not break a reader of today.
    check(document, name, {**event.data, "added_later": 1})
    for missing in document["components"]["schemas"][name]["required"]:
        with pytest.raises(jsonschema.ValidationError):
            check(document, name, {key: value for key, value in event.data.items() if key != missing})


def test_the_headers_are_those_of_the_records(document: dict[str, Any]) -> None:
    event = stored(SAMPLES[0])
    whole = {name: value.decode() for name, value in kafka_message(event, "local").headers.items()}
    reference = {name: value.decode() for name, value in kafka_reference(event, "local", "http://gateway").headers.items()}
    check(document, "CloudEventHeaders", whole)
    check(document, "CloudEventHeaders", reference)
    assert set(whole) | set(reference) == set(document["components"]["schemas"]["CloudEventHeaders"]["properties"])
    with pytest.raises(jsonschema.ValidationError):
        check(document, "CloudEventHeaders", {**whole, "ce_type": "somagent.other.v1"})
