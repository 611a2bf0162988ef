"""A replay of recorded decisions, part by part: a worker that dies loses one part, and a cancelled replay keeps what it found."""

from __future__ import annotations

import asyncio

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from domain.blobs import BlobRef
from domain.names import ActivityName, UpdateName, WorkflowName
from domain.policy_replays import CloseReplayCall, PolicyReplayInput, ReplayPartOutcome, ReplayStatus
from workflows.options import REPLAY, WRITE


@workflow.defn(name=WorkflowName.POLICY_REPLAY.value)
class PolicyReplayWorkflow:
    """See the module."""

    @workflow.init
    def __init__(self, asked: PolicyReplayInput) -> None:
        """Of a run that goes on where another ended the replay is recorded already."""
        self._opened = asked.after is not None
        self._asked = asked

    @workflow.run
    async def run(self, asked: PolicyReplayInput) -> ReplayStatus:
        """Ends once every decision was asked. A cancelled or failed run records what it found until then."""
        try:
            if not self._opened:
                await workflow.execute_activity(
                    ActivityName.POLICY_REPLAY_OPEN.value, asked, summary="Record the replay", **WRITE
                )
                self._opened = True
            while await self._part():
                if workflow.info().is_continue_as_new_suggested():
                    await workflow.wait_condition(workflow.all_handlers_finished)
                    workflow.continue_as_new(self._asked)
            await self._close(ReplayStatus.COMPLETED)
        except (asyncio.CancelledError, ActivityError) as error:
            await self._close(ReplayStatus.CANCELLED if is_cancelled_exception(error) else ReplayStatus.FAILED)
            raise
        await workflow.wait_condition(workflow.all_handlers_finished)
        return ReplayStatus.COMPLETED

    async def _part(self) -> bool:
        """Asks some decisions again; False when none was left."""
        found = await workflow.execute_activity(
            ActivityName.POLICY_REPLAY_PART.value,
            self._asked,
            result_type=ReplayPartOutcome,
            summary="Ask recorded decisions again",
            **REPLAY,
        )
        if found.part is None:
            return False
        parts: tuple[BlobRef, ...] = (*self._asked.parts, found.part)
        self._asked = self._asked.model_copy(update={"after": found.after, "parts": parts})
        return True

    async def _close(self, status: ReplayStatus) -> None:
        asked = self._asked
        await workflow.execute_activity(
            ActivityName.POLICY_REPLAY_CLOSE.value,
            CloseReplayCall(replay_id=asked.replay_id, actor=asked.actor, status=status, parts=asked.parts),
            summary=f"Record that the replay is {status.value}",
            **WRITE,
        )

    @workflow.update(name=UpdateName.STARTED.value)
    async def started(self) -> None:
        """Returns once the replay can be read."""
        await workflow.wait_condition(lambda: self._opened)
