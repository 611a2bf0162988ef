"""The judge finds what it is there to find: each kind of loss and doubling, made up and put before it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from chaos.evidence import Evidence
from chaos.histories import Timeline
from chaos.ledger import Ledger, Message
from chaos.supervised_stack import Killed
from chaos.verdict import Verdict, judge

BEGAN = datetime(2026, 11, 23, tzinfo=UTC)
SESSION, KEY, TURN = "ses_1", "key-1", "trn_1"
CONTENT = "what is known?"
SOURCE = "https://gateway.example"


def event(number: int, kind: str) -> dict[str, Any]:
    return {"event_id": f"evt_{number}", "type": f"somagent.{kind}.v1", "data": {"turn_id": TURN}, "topic": "t", "subject": "s"}


def turn(**changes: Any) -> dict[str, Any]:
    told = {"turn_id": TURN, "content": CONTENT, "reply": f"You asked: {CONTENT}", "status": "completed"}
    return told | {"error": None, "decision": None, "completed_at": (BEGAN + timedelta(seconds=5)).isoformat()} | changes


def good() -> tuple[Ledger, Evidence]:
    """One message, answered as it should be."""
    ledger, found = Ledger(), Evidence()
    ledger.started("start-key", SESSION)
    ledger.messages[KEY] = Message(SESSION, KEY, CONTENT, first_sent=BEGAN, turns={TURN})
    ledger.read(turn())
    found.transcripts[SESSION] = [turn()]
    found.calls[f"turn/{TURN}/complete"] = {"attempts": 2, "completed": 1, "answers": 1, "unknown": 1}
    found.events = [event(number, kind) for number, kind in enumerate(("turn.queued", "turn.started", "turn.completed"))]
    found.published.update((SOURCE, f"evt_{number}") for number in range(3))
    found.sources = {SOURCE}
    found.timelines[f"session/demo/{SESSION}"] = Timeline([], BEGAN, first_turn=True)
    found.statuses["RUNNING"].add(f"session/demo/{SESSION}")
    return ledger, found


def verdict(ledger: Ledger, found: Evidence) -> Verdict:
    kills = [(Killed("worker", 1, BEGAN + timedelta(seconds=seconds)), "step") for seconds in (1, 9)]
    return judge("seed", "demo", ledger, found, kills, ["worker"])


def test_what_is_right_is_found_right() -> None:
    judged = verdict(*good())
    assert (judged.lost, judged.doubled, judged.faults) == ({}, {}, [])
    (row,) = judged.rows
    assert (row.kills, row.inside, row.steps["after start"], row.turns) == (2, 2, 2, {KEY})
    assert "worker        2           2      1     0        0  after start 2" in judged.table


def gone(_: Ledger, found: Evidence) -> None:
    found.transcripts[SESSION] = []


def never_answered(_: Ledger, found: Evidence) -> None:
    found.transcripts[SESSION] = [turn(status="running", reply=None, completed_at=None)]


def denied(_: Ledger, found: Evidence) -> None:
    found.transcripts[SESSION] = [turn(status="denied", reply=None)]


def anothers_reply(_: Ledger, found: Evidence) -> None:
    found.transcripts[SESSION] = [turn(reply="You asked: something else")]


def no_completion_event(_: Ledger, found: Evidence) -> None:
    found.events.pop()


def not_in_kafka(_: Ledger, found: Evidence) -> None:
    del found.published[(SOURCE, "evt_1")]


@pytest.mark.parametrize("harm", [gone, never_answered, denied, anothers_reply, no_completion_event, not_in_kafka])
def test_a_loss_is_found(harm: Callable[[Ledger, Evidence], None]) -> None:
    ledger, found = good()
    harm(ledger, found)
    assert verdict(ledger, found).lost


def twice_in_the_transcript(_: Ledger, found: Evidence) -> None:
    found.transcripts[SESSION].append(turn(turn_id="trn_2"))


def two_turns_for_a_key(ledger: Ledger, _: Evidence) -> None:
    ledger.messages[KEY].turns.add("trn_2")


def two_answers(_: Ledger, found: Evidence) -> None:
    found.calls[f"turn/{TURN}/complete"]["completed"] = 2


def two_completions(_: Ledger, found: Evidence) -> None:
    found.events.append(event(3, "turn.completed"))
    found.published[(SOURCE, "evt_3")] = 1


def another_reply(ledger: Ledger, _: Evidence) -> None:
    ledger.read(turn(reply="You asked: something else"))


def two_sessions_for_a_key(ledger: Ledger, _: Evidence) -> None:
    ledger.started("start-key", "ses_2")


@pytest.mark.parametrize(
    "harm",
    [twice_in_the_transcript, two_turns_for_a_key, two_answers, two_completions, another_reply, two_sessions_for_a_key],
)
def test_a_doubling_is_found(harm: Callable[[Ledger, Evidence], None]) -> None:
    ledger, found = good()
    harm(ledger, found)
    assert verdict(ledger, found).doubled


def failed_run(_: Ledger, found: Evidence) -> None:
    found.statuses["FAILED"].add("session/demo/ses_9")


def same_event_id(_: Ledger, found: Evidence) -> None:
    found.events.append(event(2, "session.closed"))


def never_committed(_: Ledger, found: Evidence) -> None:
    found.published[(SOURCE, "evt_9")] = 1


def undocumented_answer(ledger: Ledger, _: Evidence) -> None:
    ledger.violations.append("GET /v1/sessions: 500")


def never_acknowledged(ledger: Ledger, _: Evidence) -> None:
    ledger.messages["key-2"] = Message(SESSION, "key-2", "and this?", first_sent=BEGAN)


@pytest.mark.parametrize("harm", [failed_run, same_event_id, never_committed, undocumented_answer, never_acknowledged])
def test_any_other_fault_is_found(harm: Callable[[Ledger, Evidence], None]) -> None:
    ledger, found = good()
    harm(ledger, found)
    assert verdict(ledger, found).faults
