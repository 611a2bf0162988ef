"""Two-key requests are proposed, approved and withdrawn: short runs, so that each has an author and a history."""

from __future__ import annotations

from temporalio import workflow

from domain.names import ActivityName, WorkflowName
from domain.two_key import TwoKeyApprovalInput, TwoKeyInput, TwoKeyWithdrawalInput
from workflows.options import WRITE


@workflow.defn(name=WorkflowName.TWO_KEY_PROPOSE.value)
class TwoKeyProposeWorkflow:
    """Records a request."""

    @workflow.run
    async def run(self, proposal: TwoKeyInput) -> None:
        """Ends once it is recorded."""
        await workflow.execute_activity(ActivityName.TWO_KEY_PROPOSE.value, proposal, summary="Record the request", **WRITE)


@workflow.defn(name=WorkflowName.TWO_KEY_APPROVE.value)
class TwoKeyApproveWorkflow:
    """Records one person's approval."""

    @workflow.run
    async def run(self, approval: TwoKeyApprovalInput) -> None:
        """Ends once it is recorded."""
        await workflow.execute_activity(ActivityName.TWO_KEY_APPROVE.value, approval, summary="Record the approval", **WRITE)


@workflow.defn(name=WorkflowName.TWO_KEY_WITHDRAW.value)
class TwoKeyWithdrawWorkflow:
    """Ends a request."""

    @workflow.run
    async def run(self, withdrawal: TwoKeyWithdrawalInput) -> None:
        """Ends once it is recorded."""
        await workflow.execute_activity(ActivityName.TWO_KEY_WITHDRAW.value, withdrawal, summary="Withdraw the request", **WRITE)
