"""What a kill switch does to schedules, on a real Temporal server."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from live import until
from temporalio.client import Client, Schedule, ScheduleActionStartWorkflow, ScheduleHandle, ScheduleIntervalSpec, ScheduleSpec

from domain.kill_switches import RunQuery
from domain.names import Feature, Lane
from runtime.runs import TemporalRuns
from workers.embedded.stack import EmbeddedStack
from workflows.options import search_attributes

NOTE = "kill switch ksw_1"


@pytest.fixture
async def temporal(stack: EmbeddedStack) -> Client:
    return await Client.connect(stack.environment["TEMPORAL_ADDRESS"])


async def schedule(temporal: Client, tenant: str) -> ScheduleHandle:
    action = ScheduleActionStartWorkflow("nobody.runs.it", id=tenant, task_queue="nobody")
    spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(days=1))])
    attributes = search_attributes(feature=Feature.SLM, tenant_id=tenant, lane=Lane.BATCH, region="local")
    name = f"nightly-{uuid.uuid4().hex}"
    return await temporal.create_schedule(name, Schedule(action=action, spec=spec), search_attributes=attributes)


async def until_listed(temporal: Client, handle: ScheduleHandle, *, paused: bool) -> None:
    """The index of schedules lags behind them."""

    async def listed() -> bool:
        states = {found.id: found.schedule.state async for found in await temporal.list_schedules() if found.schedule}
        return handle.id in states and states[handle.id].paused is paused

    await until(listed, 20)


async def test_what_was_paused_before_a_crash_is_named_again(temporal: Client) -> None:
    tenant = f"s-{uuid.uuid4().hex[:12]}"
    runs, query = TemporalRuns(temporal), RunQuery(features=(Feature.SLM,), tenant_id=tenant)
    ours, theirs = await schedule(temporal, tenant), await schedule(temporal, tenant)
    try:
        await theirs.pause(note="the operator's own")
        await until_listed(temporal, ours, paused=False)
        await until_listed(temporal, theirs, paused=True)
        assert await runs.pause_schedules(query, NOTE) == (ours.id,)
        await until_listed(temporal, ours, paused=True)
        # Whoever paused it may have died before it kept the name.
        assert await runs.pause_schedules(query, NOTE) == (ours.id,)
        await runs.resume_schedules((ours.id, "nobody-has-it"), "ended")
        assert not (await ours.describe()).schedule.state.paused
        assert (await theirs.describe()).schedule.state.paused
    finally:
        await ours.delete()
        await theirs.delete()
