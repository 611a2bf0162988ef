"""Which step a run was in, read from a recorded history at each of its moments."""

from __future__ import annotations

from datetime import UTC, timedelta
from itertools import groupby
from pathlib import Path

from chaos.histories import Timeline, decode_all, payloads
from temporalio.client import WorkflowHistory

RECORDED = Path(__file__).parents[1] / "replay" / "histories" / "answered.json"
INSIDE = ["memory.recall", "slm.complete", "after slm.complete", "memory.remember", "after memory.remember"]


async def test_the_steps_of_a_turn_come_in_order_and_end_with_it() -> None:
    history = WorkflowHistory.from_json("session/t/s", RECORDED.read_text())
    timeline = await Timeline.read(None, [history])
    moments = [event.event_time.ToDatetime(tzinfo=UTC) for event in history.events]

    assert timeline.step_at(moments[0] - timedelta(seconds=1)) is None
    steps = [step for step, _ in groupby(timeline.step_at(moment) for moment in moments)]
    first = steps[: steps.index(None)]
    assert [step for step in first if step in INSIDE] == INSIDE
    assert timeline.step_at(moments[-1] + timedelta(seconds=1)) is None


async def test_every_payload_of_a_history_is_found() -> None:
    history = WorkflowHistory.from_json("session/t/s", RECORDED.read_text())
    found = sum(1 for event in history.events for _ in payloads(event))
    assert await decode_all(None, history) == found
    assert found >= RECORDED.read_text().count('"encoding"')
