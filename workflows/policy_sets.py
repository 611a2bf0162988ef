"""A tenant's policies are made, and come into force or out of it, each as a short run: it has an author and a history."""

from __future__ import annotations

from temporalio import workflow

from domain.names import ActivityName, WorkflowName
from domain.policy_sets import PolicySetActivationInput, PolicySetInput
from workflows.options import WRITE


@workflow.defn(name=WorkflowName.POLICY_SET_CREATE.value)
class PolicySetCreateWorkflow:
    """Records a version of the tenant's policies."""

    @workflow.run
    async def run(self, made: PolicySetInput) -> None:
        """Fails as `policy-invalid` when the policies cannot be used."""
        await workflow.execute_activity(ActivityName.POLICY_SET_CREATE.value, made, summary="Record the policies", **WRITE)


@workflow.defn(name=WorkflowName.POLICY_SET_ACTIVATE.value)
class PolicySetActivateWorkflow:
    """Puts a version in force or out of it."""

    @workflow.run
    async def run(self, change: PolicySetActivationInput) -> None:
        """Fails as `conflict` when another version than the expected one is in force."""
        await workflow.execute_activity(
            ActivityName.POLICY_SET_ACTIVATE.value, change, summary="Change which policies are in force", **WRITE
        )
