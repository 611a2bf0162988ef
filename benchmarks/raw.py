"""The yardsticks: what a user of bare Temporal would write, with the SDK's own converter, no codec and no interceptor.

Of a session's start: a workflow started by update-with-start whose update waits for three local activities that do nothing;
like a session it stays open. Of a model call: a workflow of one activity that does nothing, started and waited for.
`python -m benchmarks.raw` is their worker: `defaults` with every option left alone, `tuned` with the pollers, cache and slots
of our own worker.
"""

from __future__ import annotations

import asyncio
import sys
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal

from temporalio import activity, workflow
from temporalio.client import Client, WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.envconfig import ClientConfig
from temporalio.worker import PollerBehaviorAutoscaling, Worker

Flavour = Literal["defaults", "tuned"]
_STEPS: Final = 3


@activity.defn(name="raw.step")
async def step(number: int) -> int:
    """Does nothing."""
    return number + 1


@workflow.defn(name="raw.start", sandboxed=True)
class RawStart:
    """Three steps, then open until it is told to end."""

    def __init__(self) -> None:
        """Nothing has happened yet."""
        self._value: int | None = None
        self._over = False

    @workflow.run
    async def run(self) -> int:
        """Steps, then waits."""
        value = 0
        for _ in range(_STEPS):
            value = await workflow.execute_local_activity(step, value, start_to_close_timeout=timedelta(seconds=10))
        self._value = value
        await workflow.wait_condition(lambda: self._over)
        return value

    @workflow.update
    async def started(self) -> int:
        """The value, once there is one."""
        await workflow.wait_condition(lambda: self._value is not None)
        return self._value or 0

    @workflow.signal
    def end(self) -> None:
        """Ends it."""
        self._over = True


@workflow.defn(name="raw.call", sandboxed=True)
class RawCall:
    """One step as an activity on the queue."""

    @workflow.run
    async def run(self) -> int:
        """The step's value."""
        return await workflow.execute_activity(step, 0, start_to_close_timeout=timedelta(seconds=10))


def queue_of(flavour: Flavour) -> str:
    """Its task queue."""
    return f"raw-{flavour}"


async def connect() -> Client:
    """A client as the SDK makes it from the environment."""
    return await Client.connect(**ClientConfig.load_client_connect_config())


async def start(client: Client, queue: str) -> None:
    """One start: returns when the update has its answer."""
    with_start: Any = WithStartWorkflowOperation
    caller: Any = client
    operation = with_start(RawStart.run, id=str(uuid.uuid4()), task_queue=queue, id_conflict_policy=WorkflowIDConflictPolicy.FAIL)
    answer: int = await caller.execute_update_with_start_workflow(RawStart.started, start_workflow_operation=operation)
    if answer != _STEPS:
        raise RuntimeError(f"The raw workflow answered {answer}.")


async def call(client: Client, queue: str) -> None:
    """One call: returns with the workflow's result."""
    caller: Any = client
    answer: int = await caller.execute_workflow(RawCall.run, id=str(uuid.uuid4()), task_queue=queue)
    if answer != 1:
        raise RuntimeError(f"The raw workflow answered {answer}.")


async def _serve(flavour: Flavour, ready: Path) -> None:
    options: dict[str, Any] = {}
    if flavour == "tuned":
        options = {
            "max_cached_workflows": 500,
            "max_concurrent_workflow_tasks": 200,
            "max_concurrent_activities": 100,
            "sticky_queue_schedule_to_start_timeout": timedelta(seconds=2),
            "workflow_task_poller_behavior": PollerBehaviorAutoscaling(initial=2),
            "activity_task_poller_behavior": PollerBehaviorAutoscaling(initial=2),
        }
    workflows = [RawStart, RawCall]
    worker = Worker(await connect(), task_queue=queue_of(flavour), workflows=workflows, activities=[step], **options)
    async with worker:
        await asyncio.to_thread(ready.touch)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve("tuned" if sys.argv[1] == "tuned" else "defaults", Path(sys.argv[2])))
