"""Clients: make, change, rotate the secret of, disable one."""

from __future__ import annotations

from temporalio import activity

from activities.errors import translate_errors
from domain.clients import ClientChangeInput, ClientDisablingInput, ClientInput, ClientOutcome, ClientRotationInput
from domain.names import ActivityName
from domain.ports.clients import ClientStore


class ClientActivities:
    """What the workflows of clients have done for them. A repeated attempt gets what the first one recorded."""

    def __init__(self, store: ClientStore) -> None:
        """`store` keeps the rows."""
        self._store = store

    @activity.defn(name=ActivityName.CLIENT_CREATE.value)
    async def create(self, client: ClientInput) -> ClientOutcome:
        """Records the client."""
        with translate_errors():
            return await self._store.create(client)

    @activity.defn(name=ActivityName.CLIENT_CHANGE.value)
    async def change(self, change: ClientChangeInput) -> None:
        """Changes name, scopes or roles."""
        with translate_errors():
            await self._store.change(change)

    @activity.defn(name=ActivityName.CLIENT_ROTATE.value)
    async def rotate(self, rotation: ClientRotationInput) -> ClientOutcome:
        """Records another secret's digest."""
        with translate_errors():
            return await self._store.rotate(rotation)

    @activity.defn(name=ActivityName.CLIENT_DISABLE.value)
    async def disable(self, disabling: ClientDisablingInput) -> None:
        """Ends the client for good."""
        with translate_errors():
            await self._store.disable(disabling)
