"""Workflow histories as evidence: which step a run was in at a moment, whether every payload decodes, how large it all is.

An activity is in a history from its scheduling on; a local activity only as a marker once its workflow task has ended. A run
between two activities is therefore named after the step it had last finished.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from google.protobuf.message import Message as ProtoMessage
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHistory
from temporalio.converter import PayloadCodec

from domain.names import ActivityName

LOCAL_ACTIVITY: Final = "core_local_activity"
_QUEUE, _CLOSE = ActivityName.TURN_QUEUE.value, ActivityName.TURN_CLOSE.value
_ENDS: Final = (
    "activity_task_completed_event_attributes",
    "activity_task_failed_event_attributes",
    "activity_task_timed_out_event_attributes",
    "activity_task_canceled_event_attributes",
)


async def chain(client: Client, workflow_id: str) -> list[WorkflowHistory]:
    """The histories of all runs of a workflow from the first to the last, in order of continue-as-new."""
    last = await client.get_workflow_handle(workflow_id).fetch_history()
    run_id: str = last.events[0].workflow_execution_started_event_attributes.first_execution_run_id
    found: list[WorkflowHistory] = []
    while run_id:
        history = await client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history()
        found.append(history)
        run_id = history.events[-1].workflow_execution_continued_as_new_event_attributes.new_execution_run_id
    return found


async def pending_steps(client: Client, workflow_id: str) -> list[str]:
    """The activities that are scheduled and not ended, by type, as the server sees them now."""
    described = await client.get_workflow_handle(workflow_id).describe()
    return [pending.activity_type.name for pending in described.raw_description.pending_activities]


def payloads(message: ProtoMessage) -> Iterator[Payload]:
    """Every payload anywhere in a protobuf message."""
    if isinstance(message, Payload):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            values: Sequence[Any] = list(value.values())
        else:
            values = list(value) if field.is_repeated else [value]
        for each in values:
            if isinstance(each, ProtoMessage):
                yield from payloads(each)


async def _clear(codec: PayloadCodec | None, found: Sequence[Payload]) -> list[Payload]:
    return await codec.decode(found) if codec else list(found)


def failed_tasks(history: WorkflowHistory) -> Counter[str]:
    """Workflow tasks that did not end well, by cause: a first attempt leaves an event, further ones do not."""
    causes: Counter[str] = Counter()
    for event in history.events:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT:
            causes["timed out"] += 1
        elif event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
            attributes = event.workflow_task_failed_event_attributes
            causes[WorkflowTaskFailedCause.Name(attributes.cause).removeprefix("WORKFLOW_TASK_FAILED_CAUSE_").lower()] += 1
    return causes


async def decode_all(codec: PayloadCodec | None, history: WorkflowHistory) -> int:
    """Decodes every payload; returns how many. Raises when one cannot be read."""
    clear = await _clear(codec, [payload for event in history.events for payload in payloads(event)])
    for payload in clear:
        if payload.metadata["encoding"] in (b"json/plain", b"json/protobuf"):
            json.loads(payload.data)
        else:
            assert payload.metadata["encoding"] in (b"binary/null", b"binary/plain"), payload.metadata
    return len(clear)


@dataclass(frozen=True)
class _Change:
    """What one event changed: a step was scheduled, or one ended."""

    at: datetime
    step: str
    scheduled: bool


class Timeline:
    """The steps of a workflow over time."""

    def __init__(self, changes: list[_Change], opened: datetime, *, first_turn: bool) -> None:
        """`first_turn`: the session began with a prompt."""
        self._changes, self._opened, self._first_turn = changes, opened, first_turn

    @classmethod
    async def read(cls, codec: PayloadCodec | None, histories: Sequence[WorkflowHistory]) -> Timeline:
        """From all runs of a workflow."""
        changes: list[_Change] = []
        first = histories[0].events[0]
        attributes = first.workflow_execution_started_event_attributes
        (argument,) = await _clear(codec, attributes.input.payloads)
        for history in histories:
            steps: dict[int, str] = {}
            seen = [await _change(codec, event, steps) for event in history.events]
            changes += [change for change in seen if change]
        return cls(changes, _time(first), first_turn=json.loads(argument.data).get("first_turn") is not None)

    def step_at(self, moment: datetime) -> str | None:
        """The step of the turn in progress at that moment: a running activity, or `after` the last one. None without a turn."""
        if moment < self._opened:
            return None
        running: list[str] = []
        taken, ended, last = int(self._first_turn), 0, "start"
        for change in self._changes:
            if change.at > moment:
                break
            if change.scheduled:
                running.append(change.step)
                continue
            if change.step in running:
                running.remove(change.step)
            taken += change.step == _QUEUE
            ended += change.step == _CLOSE
            if change.step != _QUEUE or taken - ended == 1:
                last = change.step
        if working := [step for step in running if step != _QUEUE]:
            return working[-1]
        if taken > ended:
            return f"after {last}"
        return _QUEUE if running else None


async def _change(codec: PayloadCodec | None, event: HistoryEvent, steps: dict[int, str]) -> _Change | None:
    """What an event means; `steps` are the activities of its run by the id of the event that scheduled them."""
    if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
        steps[event.event_id] = name = event.activity_task_scheduled_event_attributes.activity_type.name
        return _Change(_time(event), name, scheduled=True)
    ended = event.WhichOneof("attributes")
    if ended in _ENDS:
        return _Change(_time(event), steps[getattr(event, ended).scheduled_event_id], scheduled=False)
    marker = event.marker_recorded_event_attributes
    if event.event_type == EventType.EVENT_TYPE_MARKER_RECORDED and marker.marker_name == LOCAL_ACTIVITY:
        (payload,) = await _clear(codec, marker.details["data"].payloads)
        return _Change(_time(event), json.loads(payload.data)["activity_type"], scheduled=False)
    return None


def _time(event: HistoryEvent) -> datetime:
    return event.event_time.ToDatetime(tzinfo=UTC)
