"""What the tour reads of Temporal: a run's link, what it has under way, and which attempts its history holds.

Blocks: the client lives in an event loop of this object's own.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

from temporalio.api.enums.v1 import EventType, PendingActivityState
from temporalio.client import Client

from domain.base import Contract
from runtime.client import connect
from runtime.settings import Settings

_LOOK_SECONDS: Final = 0.01


class Started(Contract):
    """An activity that a worker has in hand. `worker` is the identity it polls with, `pid@host`."""

    activity: str
    attempt: int
    worker: str
    started_at: float


class Attempt(Contract):
    """A regular activity as the history tells of it: the attempt that came to an end, and what ended the one before."""

    activity: str
    attempt: int
    worker: str
    failure_before: str | None


class Runs:
    """Temporal's answers about runs."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is connected yet."""
        self._settings = settings
        self._runner = asyncio.Runner()
        self._client: Client | None = None

    def __enter__(self) -> Self:
        """Connects. Raises DependencyUnavailable."""
        self._client = self._runner.run(connect(self._settings, wait_seconds=5.0))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client = None
        self._runner.close()

    def link(self, workflow_id: str) -> str | None:
        """The newest run of the workflow in Temporal's web UI, where one is configured."""
        base = self._settings.temporal_ui_url.rstrip("/")
        if not base:
            return None
        run_id = self._runner.run(self._run_id(workflow_id))
        parts = (quote(part, safe="") for part in (self._connected.namespace, workflow_id, run_id))
        namespace, workflow, run = parts
        return f"{base}/namespaces/{namespace}/workflows/{workflow}/{run}/history"

    def until_started(self, workflow_id: str, activity: str, seconds: float) -> Started | None:
        """The activity once a worker has it in hand; None when none had within that time."""
        return self._runner.run(self._until_started(workflow_id, activity, seconds))

    def attempts(self, workflow_id: str) -> list[Attempt]:
        """The ended activities of the newest run, in the order they were given to workers; local ones are not among them."""
        return self._runner.run(self._attempts(workflow_id))

    @property
    def _connected(self) -> Client:
        if self._client is None:
            raise RuntimeError("Runs is used as a context manager.")
        return self._client

    async def _run_id(self, workflow_id: str) -> str:
        return (await self._connected.get_workflow_handle(workflow_id).describe()).run_id

    async def _until_started(self, workflow_id: str, activity: str, seconds: float) -> Started | None:
        handle, deadline = self._connected.get_workflow_handle(workflow_id), time.monotonic() + seconds
        while time.monotonic() < deadline:
            described = await handle.describe()
            for pending in described.raw_description.pending_activities:
                named = pending.activity_type.name == activity
                if named and pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED:
                    return Started(
                        activity=activity,
                        attempt=pending.attempt,
                        worker=pending.last_worker_identity,
                        started_at=pending.last_started_time.ToNanoseconds() / 1e9,
                    )
            await asyncio.sleep(_LOOK_SECONDS)
        return None

    async def _attempts(self, workflow_id: str) -> list[Attempt]:
        history = await self._connected.get_workflow_handle(workflow_id).fetch_history()
        scheduled: dict[int, str] = {}
        found: list[Attempt] = []
        for event in history.events:
            if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                scheduled[event.event_id] = event.activity_task_scheduled_event_attributes.activity_type.name
            elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
                started = event.activity_task_started_event_attributes
                before = started.last_failure.message if started.HasField("last_failure") else None
                found.append(
                    Attempt(
                        activity=scheduled[started.scheduled_event_id],
                        attempt=started.attempt,
                        worker=started.identity,
                        failure_before=before,
                    )
                )
        return found
