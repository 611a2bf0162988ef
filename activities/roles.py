"""Roles: make, replace, delete one."""

from __future__ import annotations

from temporalio import activity

from activities.errors import translate_errors
from domain.names import ActivityName
from domain.ports.roles import RoleStore
from domain.roles import RoleDeletionInput, RoleInput, RoleReplacementInput


class RoleActivities:
    """What the workflows of roles have done for them. A repeated attempt changes nothing."""

    def __init__(self, store: RoleStore) -> None:
        """`store` keeps the rows."""
        self._store = store

    @activity.defn(name=ActivityName.ROLE_CREATE.value)
    async def create(self, role: RoleInput) -> None:
        """Records the role."""
        with translate_errors():
            await self._store.create(role)

    @activity.defn(name=ActivityName.ROLE_REPLACE.value)
    async def replace(self, change: RoleReplacementInput) -> None:
        """Changes what the role opens."""
        with translate_errors():
            await self._store.replace(change)

    @activity.defn(name=ActivityName.ROLE_DELETE.value)
    async def delete(self, deletion: RoleDeletionInput) -> None:
        """Removes the role."""
        with translate_errors():
            await self._store.delete(deletion)
