"""A kill switch after it was engaged: end what it means, state that it is quiet, and wait for its end.

The gateway engages a switch by one transaction, so it stops while Temporal is away; this run does the rest. A run that was
never started is started by the sweep.
"""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import TypedSearchAttributes
from temporalio.exceptions import WorkflowAlreadyStartedError

from domain.kill_switches import EnforceCall, Enforced, ReleaseCall
from domain.names import ActivityName, Feature, Lane, UpdateName, WorkflowName, workflow_id
from workflows.options import ENFORCE, WRITE, priority, search_attributes


def attributes(call: EnforceCall, region: str) -> TypedSearchAttributes:
    """Search attributes of a switch's run."""
    return search_attributes(feature=Feature.KILL_SWITCH, tenant_id=call.tenant_id, lane=Lane.SAFETY, region=region)


@workflow.defn(name=WorkflowName.KILL_SWITCH_ENFORCE.value)
class KillSwitchEnforceWorkflow:
    """See the module."""

    def __init__(self) -> None:
        """Nothing is released."""
        self._released = False

    @workflow.run
    async def run(self, call: EnforceCall) -> None:
        """Ends once the switch has: released, or expired."""
        await workflow.execute_activity(ActivityName.KILL_SWITCH_PAUSE.value, call, summary="Pause the schedules", **ENFORCE)
        await workflow.execute_activity(ActivityName.KILL_SWITCH_CANCEL.value, call, summary="End the runs", **ENFORCE)
        await workflow.execute_activity(
            ActivityName.KILL_SWITCH_SETTLE.value, call, summary="Wait for what is in flight", **ENFORCE
        )
        stated: Enforced = await workflow.execute_activity(
            ActivityName.KILL_SWITCH_STATE.value, call, result_type=Enforced, summary="Sign the statement", **ENFORCE
        )
        if not stated.ended:
            await self._until_ended(stated)
        await workflow.execute_activity(ActivityName.KILL_SWITCH_RESUME.value, call, summary="Let the schedules go on", **ENFORCE)
        await workflow.wait_condition(workflow.all_handlers_finished)

    @workflow.update(name=UpdateName.RELEASE.value)
    async def release(self, release: ReleaseCall) -> bool:
        """Ends the switch, once two people have approved that. Fails as `forbidden` otherwise, and the switch stays."""
        await workflow.execute_activity(ActivityName.KILL_SWITCH_RELEASE.value, release, summary="Release the switch", **WRITE)
        self._released = True
        return True

    async def _until_ended(self, stated: Enforced) -> None:
        """Timers are of whole seconds; one more lies safely after the expiry."""
        left = None if stated.seconds_left is None else timedelta(seconds=int(stated.seconds_left) + 1)
        try:
            await workflow.wait_condition(lambda: self._released, timeout=left, timeout_summary="Until the switch expires")
        except TimeoutError:
            return


@workflow.defn(name=WorkflowName.KILL_SWITCH_SWEEP.value)
class KillSwitchSweepWorkflow:
    """Starts the runs of switches whose gateway could not. Started by its schedule."""

    @workflow.run
    async def run(self, region: str) -> int:
        """How many it started; `region` is the platform's."""
        pending: list[EnforceCall] = await workflow.execute_activity(
            ActivityName.KILL_SWITCH_PENDING.value, result_type=list[EnforceCall], summary="Look for switches", **WRITE
        )
        started = 0
        for call in pending:
            try:
                await workflow.start_child_workflow(
                    WorkflowName.KILL_SWITCH_ENFORCE.value,
                    call,
                    id=workflow_id(Feature.KILL_SWITCH, call.tenant_id, call.switch_id),
                    parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                    priority=priority(Lane.SAFETY, call.tenant_id),
                    search_attributes=attributes(call, region),
                    static_summary=f"Kill switch of {call.tenant_id}",
                )
                started += 1
            except WorkflowAlreadyStartedError:
                continue
        return started
