"""A tenant is made, changed and deleted, each as a short run of the platform's own tenant."""

from __future__ import annotations

from temporalio import workflow

from domain.names import ActivityName, WorkflowName
from domain.tenants import TenantChangeInput, TenantDeletionInput, TenantInput, TenantOutcome
from workflows.options import WRITE


@workflow.defn(name=WorkflowName.TENANT_CREATE.value)
class TenantCreateWorkflow:
    """Records a tenant."""

    @workflow.run
    async def run(self, tenant: TenantInput) -> TenantOutcome:
        """Fails as `conflict` for an id that is taken."""
        return await workflow.execute_activity(
            ActivityName.TENANT_CREATE.value, tenant, result_type=TenantOutcome, summary="Record the tenant", **WRITE
        )


@workflow.defn(name=WorkflowName.TENANT_CHANGE.value)
class TenantChangeWorkflow:
    """Changes a tenant."""

    @workflow.run
    async def run(self, change: TenantChangeInput) -> None:
        """Fails as `precondition-failed` when somebody else changed it."""
        await workflow.execute_activity(ActivityName.TENANT_CHANGE.value, change, summary="Change the tenant", **WRITE)


@workflow.defn(name=WorkflowName.TENANT_DELETE.value)
class TenantDeleteWorkflow:
    """Deletes a tenant."""

    @workflow.run
    async def run(self, deletion: TenantDeletionInput) -> None:
        """Fails as `not-found` when there is no such tenant."""
        await workflow.execute_activity(ActivityName.TENANT_DELETE.value, deletion, summary="Delete the tenant", **WRITE)
