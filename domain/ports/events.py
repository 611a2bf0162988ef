"""The outbox: read in commit order by clients and by the relay."""

from __future__ import annotations

from typing import Protocol

from domain.events import Position, StoredEvent
from domain.names import Topic


class EventReads(Protocol):
    """One tenant's events."""

    async def page(
        self, tenant_id: str, *, topic: Topic | None, subject: str | None, after: Position | None, limit: int
    ) -> tuple[StoredEvent, ...]:
        """Events in commit order, from after that position on; only those no open transaction can precede."""
        ...

    async def wait(self, timeout_seconds: float) -> None:
        """Returns when something was written, or after that time; a caller looks again either way."""
        ...


class OutboxFeed(Protocol):
    """Every tenant's events, for the one active relay."""

    async def acquire(self) -> bool:
        """True when this process is now the active relay; False while another is."""
        ...

    async def next(self, sink: str, limit: int) -> tuple[StoredEvent, ...]:
        """The events after the sink's position, in commit order."""
        ...

    async def advance(self, sink: str, position: Position) -> None:
        """Moves the sink's position; never back."""
        ...

    async def backlog(self, sink: str) -> int:
        """Events the sink has not had."""
        ...


class EventSink(Protocol):
    """Where the relay publishes: at least once, in order within a partition key."""

    @property
    def name(self) -> str:
        """Names the sink's position."""
        ...

    async def publish(self, events: tuple[StoredEvent, ...]) -> None:
        """Returns when the broker has acknowledged all. Raises DependencyUnavailable; the same events are then sent again."""
        ...
