"""Memory: SomaBrain, or Postgres full text."""

from __future__ import annotations

from typing import Protocol

from domain.memory import MemoryItem, Recollection, Remembered


class Memory(Protocol):
    """Remembers and recalls within one tenant."""

    async def remember(self, tenant_id: str, item: MemoryItem) -> Remembered:
        """Keeps the item; the same key again overwrites in place. Raises MemoryUnavailable."""
        ...

    async def recall(self, tenant_id: str, query: str, session_id: str, limit: int) -> Recollection:
        """The items nearest to the query, best first, the session's own among them. Raises MemoryUnavailable."""
        ...
