"""A client is made, changed and disabled, and gets another secret, each as a short run of its own.

The secret itself never comes here, only its digest.
"""

from __future__ import annotations

from temporalio import workflow

from domain.clients import ClientChangeInput, ClientDisablingInput, ClientInput, ClientOutcome, ClientRotationInput
from domain.names import ActivityName, WorkflowName
from workflows.options import WRITE


@workflow.defn(name=WorkflowName.CLIENT_CREATE.value)
class ClientCreateWorkflow:
    """Records a client."""

    @workflow.run
    async def run(self, client: ClientInput) -> ClientOutcome:
        """Fails as `insufficient-scope` when its maker holds less."""
        return await workflow.execute_activity(
            ActivityName.CLIENT_CREATE.value, client, result_type=ClientOutcome, summary="Record the client", **WRITE
        )


@workflow.defn(name=WorkflowName.CLIENT_CHANGE.value)
class ClientChangeWorkflow:
    """Changes a client."""

    @workflow.run
    async def run(self, change: ClientChangeInput) -> None:
        """Fails as `precondition-failed` when somebody else changed it."""
        await workflow.execute_activity(ActivityName.CLIENT_CHANGE.value, change, summary="Change the client", **WRITE)


@workflow.defn(name=WorkflowName.CLIENT_ROTATE.value)
class ClientRotateWorkflow:
    """Gives a client another secret."""

    @workflow.run
    async def run(self, rotation: ClientRotationInput) -> ClientOutcome:
        """Fails as `conflict` when the client is disabled."""
        return await workflow.execute_activity(
            ActivityName.CLIENT_ROTATE.value, rotation, result_type=ClientOutcome, summary="Rotate the secret", **WRITE
        )


@workflow.defn(name=WorkflowName.CLIENT_DISABLE.value)
class ClientDisableWorkflow:
    """Disables a client."""

    @workflow.run
    async def run(self, disabling: ClientDisablingInput) -> None:
        """Fails as `not-found` when there is no such client."""
        await workflow.execute_activity(ActivityName.CLIENT_DISABLE.value, disabling, summary="Disable the client", **WRITE)
