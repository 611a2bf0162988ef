"""Revocations: record one."""

from __future__ import annotations

from temporalio import activity

from activities.errors import translate_errors
from domain.names import ActivityName
from domain.ports.revocations import RevocationStore
from domain.revocations import RevocationInput


class RevocationActivities:
    """What the workflow of a revocation has done for it."""

    def __init__(self, store: RevocationStore) -> None:
        """`store` keeps the rows."""
        self._store = store

    @activity.defn(name=ActivityName.REVOCATION_CREATE.value)
    async def revoke(self, revocation: RevocationInput) -> None:
        """Records the revocation; a repeated attempt changes nothing."""
        with translate_errors():
            await self._store.revoke(revocation)
