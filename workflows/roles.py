"""A role is made, replaced and deleted, each as a short run of its own."""

from __future__ import annotations

from temporalio import workflow

from domain.names import ActivityName, WorkflowName
from domain.roles import RoleDeletionInput, RoleInput, RoleReplacementInput
from workflows.options import WRITE


@workflow.defn(name=WorkflowName.ROLE_CREATE.value)
class RoleCreateWorkflow:
    """Records a role."""

    @workflow.run
    async def run(self, role: RoleInput) -> None:
        """Fails as `conflict` for a name that is taken."""
        await workflow.execute_activity(ActivityName.ROLE_CREATE.value, role, summary="Record the role", **WRITE)


@workflow.defn(name=WorkflowName.ROLE_REPLACE.value)
class RoleReplaceWorkflow:
    """Changes what a role opens."""

    @workflow.run
    async def run(self, change: RoleReplacementInput) -> None:
        """Fails as `precondition-failed` when somebody else changed it."""
        await workflow.execute_activity(ActivityName.ROLE_REPLACE.value, change, summary="Replace the role", **WRITE)


@workflow.defn(name=WorkflowName.ROLE_DELETE.value)
class RoleDeleteWorkflow:
    """Removes a role."""

    @workflow.run
    async def run(self, deletion: RoleDeletionInput) -> None:
        """Fails as `conflict` while somebody has it."""
        await workflow.execute_activity(ActivityName.ROLE_DELETE.value, deletion, summary="Delete the role", **WRITE)
