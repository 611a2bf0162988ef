"""Recall and remember: one exchange of a turn is one item, whose key makes writing it again harmless."""

from __future__ import annotations

from typing import Final

from temporalio import activity

from activities.effects import Effects
from activities.errors import translate_errors
from domain.memory import MemoryItem, RecallCall, RecallOutcome, RememberCall, Remembered
from domain.names import ActivityName
from domain.ports.blobs import BlobStore
from domain.ports.memory import Memory

RECALLED: Final = 5
_QUERY_CHARACTERS: Final = 4_000
_ITEM_CHARACTERS: Final = 16_000


class MemoryActivities:
    """What a turn asks of memory."""

    def __init__(self, *, memory: Memory, blobs: BlobStore, effects: Effects) -> None:
        """`memory` keeps, `blobs` holds the texts."""
        self._memory, self._blobs, self._effects = memory, blobs, effects

    @activity.defn(name=ActivityName.MEMORY_RECALL.value)
    async def recall(self, call: RecallCall) -> RecallOutcome:
        """What is remembered about the message, as a blob. Fails as `memory-unavailable` to be retried."""
        tenant_id = call.actor.tenant_id
        with translate_errors():
            effect = self._effects.new(call.actor)
            query = (await self._blobs.get(tenant_id, call.message.sha256)).decode()[:_QUERY_CHARACTERS]
            with effect.begun():
                found = await self._memory.recall(tenant_id, query, call.session_id, RECALLED)
            if not found.items:
                return RecallOutcome(degraded=found.degraded)
            blob = await self._blobs.put(tenant_id, found.model_dump_json().encode(), "application/json")
            return RecallOutcome(recollection=blob, degraded=found.degraded)

    @activity.defn(name=ActivityName.MEMORY_REMEMBER.value)
    async def remember(self, call: RememberCall) -> Remembered:
        """Keeps the turn's exchange. Fails as `memory-unavailable` to be retried."""
        tenant_id = call.actor.tenant_id
        with translate_errors():
            effect = self._effects.new(call.actor)
            question = (await self._blobs.get(tenant_id, call.message.sha256)).decode()
            reply = (await self._blobs.get(tenant_id, call.reply.sha256)).decode()
            item = MemoryItem(
                key=f"{call.session_id}/{call.turn_id}",
                text=f"{question[:_ITEM_CHARACTERS]}\n\n{reply[:_ITEM_CHARACTERS]}",
                session_id=call.session_id,
            )
            with effect.begun():
                return await self._memory.remember(tenant_id, item)
