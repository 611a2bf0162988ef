"""Schedules: what Temporal starts by itself. A worker writes them when it starts, so that they are as its release has them."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)

from domain.budgets import SweepCall
from domain.names import SYSTEM_TENANT, Feature, Lane, Queue, WorkflowName, workflow_id
from workflows.options import priority, search_attributes

SWEEP_EVERY: Final = timedelta(minutes=1)
LEDGER_SWEEP_SCHEDULE: Final = workflow_id(Feature.LEDGER_SWEEP, SYSTEM_TENANT, "every-minute")
KILL_SWITCH_SWEEP_EVERY: Final = timedelta(seconds=30)
KILL_SWITCH_SWEEP_SCHEDULE: Final = workflow_id(Feature.KILL_SWITCH_SWEEP, SYSTEM_TENANT, "every-30-seconds")
_DEADLINE: Final = timedelta(seconds=15)


async def ensure_schedules(client: Client, region: str) -> None:
    """Creates or updates every schedule; whether one is paused stays as an operator left it."""
    await _ensure(client, LEDGER_SWEEP_SCHEDULE, _ledger_sweep(region))
    await _ensure(client, KILL_SWITCH_SWEEP_SCHEDULE, _kill_switch_sweep(region))


def _ledger_sweep(region: str) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            WorkflowName.LEDGER_SWEEP.value,
            SweepCall(),
            # The server adds the time of each run.
            id=LEDGER_SWEEP_SCHEDULE,
            task_queue=Queue.PLATFORM.value,
            execution_timeout=timedelta(minutes=10),
            priority=priority(Lane.BACKGROUND, SYSTEM_TENANT),
            typed_search_attributes=search_attributes(
                feature=Feature.LEDGER_SWEEP, tenant_id=SYSTEM_TENANT, lane=Lane.BACKGROUND, region=region
            ),
            static_summary="Bill what dead workers held",
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=SWEEP_EVERY)]),
        # A minute that was missed while nothing ran is not made up for: the next run does all that is overdue.
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=SWEEP_EVERY),
    )


def _kill_switch_sweep(region: str) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            WorkflowName.KILL_SWITCH_SWEEP.value,
            region,
            id=KILL_SWITCH_SWEEP_SCHEDULE,
            task_queue=Queue.PLATFORM.value,
            execution_timeout=timedelta(minutes=5),
            priority=priority(Lane.SAFETY, SYSTEM_TENANT),
            typed_search_attributes=search_attributes(
                feature=Feature.KILL_SWITCH_SWEEP, tenant_id=SYSTEM_TENANT, lane=Lane.SAFETY, region=region
            ),
            static_summary="Carry out kill switches that no gateway could start",
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=KILL_SWITCH_SWEEP_EVERY)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=KILL_SWITCH_SWEEP_EVERY),
    )


async def _ensure(client: Client, schedule_id: str, wanted: Schedule) -> None:
    async def updated(found: ScheduleUpdateInput) -> ScheduleUpdate:
        wanted.state = found.description.schedule.state
        return ScheduleUpdate(schedule=wanted)

    try:
        await client.create_schedule(schedule_id, wanted, rpc_timeout=_DEADLINE)
    except ScheduleAlreadyRunningError:
        await client.get_schedule_handle(schedule_id).update(updated, rpc_timeout=_DEADLINE)
