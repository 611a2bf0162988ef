"""A write whose task a worker took and died with: another worker makes it, while the caller still waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from live import Live, live, until
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import PollActivityTaskQueueRequest
from temporalio.worker import Worker

from domain.names import Queue
from workers.embedded.stack import EmbeddedStack
from workers.worker import activities_of, workflows_of


@pytest.fixture
async def idle(stack: EmbeddedStack) -> AsyncIterator[Live]:
    """The product without a worker."""
    async with live(stack, queues=()) as running:
        yield running


async def take_and_die(product: Live) -> None:
    """What is left of a worker that was killed after it took a task of the platform queue: nothing answers for it."""
    asked = PollActivityTaskQueueRequest(
        namespace=product.temporal.namespace, task_queue=TaskQueue(name=Queue.PLATFORM.value), identity="dead"
    )

    async def took() -> bool:
        return bool((await product.temporal.workflow_service.poll_activity_task_queue(asked)).task_token)

    await until(took)


async def test_a_write_whose_worker_died_is_made_by_another_within_the_request(idle: Live) -> None:
    platform = Queue.PLATFORM.value
    deciding = Worker(idle.temporal, task_queue=platform, workflows=workflows_of(Queue.PLATFORM))
    acting = Worker(idle.temporal, task_queue=platform, activities=activities_of(Queue.PLATFORM, idle.activities))
    async with asyncio.timeout(40), idle.caller() as caller, deciding:
        asking = asyncio.create_task(caller.post("/v1/budgets", {"scope": "tenant", "cap": 1000}))
        await take_and_die(idle)
        async with acting:
            answer = await asking
        assert (answer.status_code, answer.json()["cap"]) == (201, 1000)
        assert len((await caller.get("/v1/budgets")).json()["budgets"]) == 1
