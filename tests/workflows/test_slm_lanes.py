"""Lanes and shares, as Temporal is told of them: queue, priority, fairness key and weight of each call."""

from __future__ import annotations

from typing import Any

import pytest
from live import Caller, Live, until


async def scheduled(product: Live, caller: Caller, prompt: str, **body: Any) -> Any:
    """The event that scheduled the request's model call."""
    answer = await caller.post("/v1/slm/requests", {"prompt": prompt, **body})
    assert answer.status_code == 202, answer.text
    handle = product.temporal.get_workflow_handle(answer.json()["workflow_id"])

    async def look() -> Any:
        history = await handle.fetch_history()
        names = "activity_task_scheduled_event_attributes"
        return next((getattr(event, names) for event in history.events if event.HasField(names)), None)

    return await until(look)


async def test_a_batch_call_waits_in_a_queue_of_its_own(product: Live, caller: Caller) -> None:
    batch = await scheduled(product, caller, "Later.", lane="batch")
    now = await scheduled(product, caller, "Now.")
    assert (batch.task_queue.name, batch.priority.priority_key) == ("slm-batch", 5)
    assert (now.task_queue.name, now.priority.priority_key) == ("slm", 2)
    assert batch.priority.fairness_key == now.priority.fairness_key == caller.tenant


async def test_a_call_fifty_times_as_large_has_a_fiftieth_of_the_weight(product: Live) -> None:
    async with product.caller() as small, product.caller() as large:
        light = await scheduled(product, small, "word " * 400, max_output_tokens=2)
        heavy = await scheduled(product, large, "word " * 20_000, max_output_tokens=2)
    assert light.priority.fairness_weight / heavy.priority.fairness_weight == pytest.approx(50, rel=0.5)


async def test_the_platforms_own_lane_is_not_to_be_had(caller: Caller) -> None:
    answer = await caller.post("/v1/slm/requests", {"prompt": "Me first.", "lane": "safety"})
    assert answer.status_code == 400
