"""An API key is recorded and revoked, each as a short run of its own. The key itself never comes here, only its digest."""

from __future__ import annotations

from temporalio import workflow

from domain.api_keys import ApiKeyInput, ApiKeyOutcome, ApiKeyRevocationInput
from domain.names import ActivityName, WorkflowName
from workflows.options import WRITE


@workflow.defn(name=WorkflowName.API_KEY_CREATE.value)
class ApiKeyCreateWorkflow:
    """Records a key."""

    @workflow.run
    async def run(self, key: ApiKeyInput) -> ApiKeyOutcome:
        """Ends once the key is recorded. Fails as `forbidden` when its client no longer holds the scopes."""
        return await workflow.execute_activity(
            ActivityName.API_KEY_CREATE.value, key, result_type=ApiKeyOutcome, summary="Record the key", **WRITE
        )


@workflow.defn(name=WorkflowName.API_KEY_REVOKE.value)
class ApiKeyRevokeWorkflow:
    """Revokes a key."""

    @workflow.run
    async def run(self, revocation: ApiKeyRevocationInput) -> None:
        """Fails as `not-found` when there is no such key."""
        await workflow.execute_activity(ActivityName.API_KEY_REVOKE.value, revocation, summary="Revoke the key", **WRITE)
