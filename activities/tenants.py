"""Tenants: make, change, delete one."""

from __future__ import annotations

from temporalio import activity

from activities.errors import translate_errors
from domain.names import ActivityName
from domain.ports.tenants import TenantStore
from domain.tenants import TenantChangeInput, TenantDeletionInput, TenantInput, TenantOutcome


class TenantActivities:
    """What the workflows of tenants have done for them. A repeated attempt gets what the first one recorded."""

    def __init__(self, store: TenantStore) -> None:
        """`store` keeps the rows."""
        self._store = store

    @activity.defn(name=ActivityName.TENANT_CREATE.value)
    async def create(self, tenant: TenantInput) -> TenantOutcome:
        """Records the tenant and its first client."""
        with translate_errors():
            return await self._store.create(tenant)

    @activity.defn(name=ActivityName.TENANT_CHANGE.value)
    async def change(self, change: TenantChangeInput) -> None:
        """Changes name, plan, limits or residency."""
        with translate_errors():
            await self._store.change(change)

    @activity.defn(name=ActivityName.TENANT_DELETE.value)
    async def delete(self, deletion: TenantDeletionInput) -> None:
        """Ends the tenant for good."""
        with translate_errors():
            await self._store.delete(deletion)
