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

    async def latest(self) -> Position:
        """A position before everything that is not shown yet, and after everything that is."""
        ...

    def notices(self) -> int:
        """How often something was written so far. Taken before `page` and handed to `wait`, nothing in between is missed."""
        ...

    async def wait(self, timeout_seconds: float, seen: int | None = None) -> None:
        """Returns when something was written, at once if there were notices after those `seen`, or after that time or a
        second; a caller looks again in any case."""
        ...


class OutboxFeed(Protocol):
    """Every tenant's events, for the one active relay. Each method raises DependencyUnavailable; the place is then lost."""

    async def acquire(self) -> bool:
        """True when this process is the active relay, now or still; False while another is."""
        ...

    async def wait(self, timeout_seconds: float) -> None:
        """Returns when something was written since the last `next`, or after that time."""
        ...

    async def next(self, sink: str, limit: int) -> tuple[StoredEvent, ...]:
        """The events after the sink's position, in commit order."""
        ...

    async def advance(self, sink: str, position: Position) -> None:
        """Moves the sink's position; never back."""
        ...

    async def backlog(self, sink: str) -> int:
        """Events the sink has not had, those included that an open transaction still holds back."""
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

    async def close(self) -> None:
        """Ends the connection; what was not acknowledged is not sent any more."""
        ...
