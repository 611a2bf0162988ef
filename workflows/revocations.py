"""Tokens are revoked: a short run, so that it has an author and a history. Every process learns of it from the row."""

from __future__ import annotations

from temporalio import workflow

from domain.names import ActivityName, WorkflowName
from domain.revocations import RevocationInput
from workflows.options import WRITE


@workflow.defn(name=WorkflowName.REVOCATION_CREATE.value)
class RevocationCreateWorkflow:
    """Records a revocation."""

    @workflow.run
    async def run(self, revocation: RevocationInput) -> None:
        """Ends once it is recorded."""
        await workflow.execute_activity(
            ActivityName.REVOCATION_CREATE.value, revocation, summary="Record the revocation", **WRITE
        )
