"""API keys: record one, revoke one."""

from __future__ import annotations

from temporalio import activity

from activities.errors import translate_errors
from domain.api_keys import ApiKeyInput, ApiKeyOutcome, ApiKeyRevocationInput
from domain.names import ActivityName
from domain.ports.api_keys import ApiKeyStore


class ApiKeyActivities:
    """What the workflows of API keys have done for them."""

    def __init__(self, store: ApiKeyStore) -> None:
        """`store` keeps the rows."""
        self._store = store

    @activity.defn(name=ActivityName.API_KEY_CREATE.value)
    async def create(self, key: ApiKeyInput) -> ApiKeyOutcome:
        """Records the key; a repeated attempt gets what the first one recorded."""
        with translate_errors():
            return await self._store.create(key)

    @activity.defn(name=ActivityName.API_KEY_REVOKE.value)
    async def revoke(self, revocation: ApiKeyRevocationInput) -> None:
        """Ends the key for good."""
        with translate_errors():
            await self._store.revoke(revocation)
