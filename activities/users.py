"""Users: record what was decided about one."""

from __future__ import annotations

from temporalio import activity

from activities.errors import translate_errors
from domain.names import ActivityName
from domain.ports.users import UserStore
from domain.users import (
    UserActivationInput,
    UserChangeInput,
    UserDeletionInput,
    UserInput,
    UserInvitationInput,
    UserInvitationOutcome,
)


class UserActivities:
    """What the workflows about users have done for them; a repeated attempt changes nothing."""

    def __init__(self, store: UserStore) -> None:
        """`store` keeps the rows."""
        self._store = store

    @activity.defn(name=ActivityName.USER_CREATE.value)
    async def create(self, user: UserInput) -> UserInvitationOutcome:
        """Records the user with its invitation."""
        with translate_errors():
            return await self._store.create(user)

    @activity.defn(name=ActivityName.USER_CHANGE.value)
    async def change(self, change: UserChangeInput) -> None:
        """Changes the user."""
        with translate_errors():
            await self._store.change(change)

    @activity.defn(name=ActivityName.USER_INVITE.value)
    async def invite(self, invitation: UserInvitationInput) -> UserInvitationOutcome:
        """Records the invitation."""
        with translate_errors():
            return await self._store.invite(invitation)

    @activity.defn(name=ActivityName.USER_DELETE.value)
    async def delete(self, deletion: UserDeletionInput) -> None:
        """Ends the user."""
        with translate_errors():
            await self._store.delete(deletion)

    @activity.defn(name=ActivityName.USER_ACTIVATE.value)
    async def activate(self, activation: UserActivationInput) -> None:
        """Makes a stored login the user's."""
        with translate_errors():
            await self._store.activate(activation)
