"""Users are made, invited, changed, activated and deleted: short runs, so that each has an author and a history."""

from __future__ import annotations

from temporalio import workflow

from domain.names import ActivityName, WorkflowName
from domain.users import (
    UserActivationInput,
    UserChangeInput,
    UserDeletionInput,
    UserInput,
    UserInvitationInput,
    UserInvitationOutcome,
)
from workflows.options import WRITE


@workflow.defn(name=WorkflowName.USER_CREATE.value)
class UserCreateWorkflow:
    """Records a user and the invitation."""

    @workflow.run
    async def run(self, user: UserInput) -> UserInvitationOutcome:
        """The digest of the invitation that stands."""
        return await workflow.execute_activity(
            ActivityName.USER_CREATE.value, user, summary="Record the user", result_type=UserInvitationOutcome, **WRITE
        )


@workflow.defn(name=WorkflowName.USER_CHANGE.value)
class UserChangeWorkflow:
    """Changes a user."""

    @workflow.run
    async def run(self, change: UserChangeInput) -> None:
        """Ends once it is recorded."""
        await workflow.execute_activity(ActivityName.USER_CHANGE.value, change, summary="Change the user", **WRITE)


@workflow.defn(name=WorkflowName.USER_INVITE.value)
class UserInviteWorkflow:
    """Invites a user anew."""

    @workflow.run
    async def run(self, invitation: UserInvitationInput) -> UserInvitationOutcome:
        """The digest of the invitation that stands."""
        return await workflow.execute_activity(
            ActivityName.USER_INVITE.value,
            invitation,
            summary="Record the invitation",
            result_type=UserInvitationOutcome,
            **WRITE,
        )


@workflow.defn(name=WorkflowName.USER_DELETE.value)
class UserDeleteWorkflow:
    """Ends a user."""

    @workflow.run
    async def run(self, deletion: UserDeletionInput) -> None:
        """Ends once it is recorded."""
        await workflow.execute_activity(ActivityName.USER_DELETE.value, deletion, summary="Delete the user", **WRITE)


@workflow.defn(name=WorkflowName.USER_ACTIVATE.value)
class UserActivateWorkflow:
    """Makes a login the user's, by their own hand."""

    @workflow.run
    async def run(self, activation: UserActivationInput) -> None:
        """Ends once it is recorded."""
        await workflow.execute_activity(ActivityName.USER_ACTIVATE.value, activation, summary="Activate the user", **WRITE)
