"""Reading the outbox in commit order, for clients and for the relay.

A sequence alone is not commit order: a transaction that took its number early and commits late would be skipped by whoever has
read past that number. So rows are ordered by (xid, seq) and only those of transactions below the oldest one still open are
shown; what is shown is complete, and everything later sorts after it. The price: one long writing transaction anywhere in the
cluster holds every reader back until it ends, which the relay's backlog shows.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import Final, TypeVar

from adapters.postgres.connection import Connection, Pool, Row, connect, mapped_errors, plain_transaction, tenant_transaction
from adapters.postgres.notices import CHANNEL, LOOK_AGAIN_SECONDS, Notices
from domain.errors import DependencyUnavailable
from domain.events import Position, StoredEvent
from domain.names import Topic

T = TypeVar("T")

START: Final = Position(xid=0, seq=0)
RELAY_LOCK: Final = 0x736F6D61_72656C79
"""Advisory lock of the active relay, one per database."""

# Not `AS xid`: ORDER BY would take the text instead of the column.
_COLUMNS: Final = """
    SELECT xid::text AS transaction, seq, tenant_id, event_id, topic, type, subject, created_at, data, traceparent FROM outbox
"""
_AFTER: Final = """
    (xid, seq) > ($1::text::xid8, $2::bigint) AND xid < pg_snapshot_xmin(pg_current_snapshot())
"""
_ORDER: Final = " ORDER BY xid, seq LIMIT $3"

_OF_TOPIC: Final = _COLUMNS + " WHERE tenant_id = $4 AND topic = $5 AND " + _AFTER + _ORDER
_OF_SUBJECT: Final = _COLUMNS + " WHERE tenant_id = $4 AND subject = $5 AND " + _AFTER + _ORDER
_OF_BOTH: Final = _COLUMNS + " WHERE tenant_id = $4 AND subject = $5 AND topic = $6 AND " + _AFTER + _ORDER
# One short scan of the index for each topic, instead of an index of its own that every write would pay for.
_OF_TENANT: Final = """
    SELECT read.* FROM unnest($5::text[]) AS wanted (topic) CROSS JOIN LATERAL (
        SELECT xid::text AS transaction, seq, tenant_id, event_id, topic, type, subject, created_at, data, traceparent FROM outbox
        WHERE tenant_id = $4 AND topic = wanted.topic
          AND (xid, seq) > ($1::text::xid8, $2::bigint) AND xid < pg_snapshot_xmin(pg_current_snapshot())
        ORDER BY xid, seq LIMIT $3
    ) AS read
    ORDER BY read.transaction::xid8, read.seq LIMIT $3
"""
_OF_ALL: Final = _COLUMNS + " WHERE " + _AFTER + _ORDER

_POSITION: Final = "SELECT xid::text AS xid, seq FROM relay_positions WHERE sink = $1"
_ADVANCE: Final = """
    INSERT INTO relay_positions AS old (sink, xid, seq) VALUES ($1, $2::text::xid8, $3)
    ON CONFLICT (sink) DO UPDATE SET xid = excluded.xid, seq = excluded.seq, updated_at = now()
    WHERE (old.xid, old.seq) < (excluded.xid, excluded.seq)
"""
_BACKLOG: Final = """
    SELECT count(*) FROM outbox
    WHERE (xid, seq) > (coalesce((SELECT xid FROM relay_positions WHERE sink = $1), '0'),
                        coalesce((SELECT seq FROM relay_positions WHERE sink = $1), 0))
"""
_AHEAD: Final = """
    SELECT coalesce(max(xid) >= pg_snapshot_xmax(pg_current_snapshot()), false)
    FROM (SELECT max(xid) AS xid FROM outbox UNION ALL SELECT max(xid) FROM relay_positions) AS seen
"""


def _event(row: Row) -> StoredEvent:
    return StoredEvent(
        position=Position(xid=int(row["transaction"]), seq=row["seq"]),
        tenant_id=row["tenant_id"],
        event_id=row["event_id"],
        topic=row["topic"],
        type=row["type"],
        subject=row["subject"],
        time=row["created_at"],
        data=row["data"],
        traceparent=row["traceparent"],
    )


class PostgresEvents:
    """Implements `EventReads`."""

    def __init__(self, pool: Pool, notices: Notices) -> None:
        """`pool` is of the application's role."""
        self._pool: Final = pool
        self._notices: Final = notices

    async def page(
        self, tenant_id: str, *, topic: Topic | None, subject: str | None, after: Position | None, limit: int
    ) -> tuple[StoredEvent, ...]:
        """Events in commit order, from after that position on. Raises DependencyUnavailable."""
        if topic and subject:
            query, filters = _OF_BOTH, (subject, topic.value)
        elif topic:
            query, filters = _OF_TOPIC, (topic.value,)
        elif subject:
            query, filters = _OF_SUBJECT, (subject,)
        else:
            query, filters = _OF_TENANT, ([topic.value for topic in Topic],)
        start = after or START
        async with tenant_transaction(self._pool, tenant_id) as connection:
            rows = await connection.fetch(query, str(start.xid), start.seq, limit, tenant_id, *filters)
        return tuple(_event(row) for row in rows)

    async def latest(self) -> Position:
        """A position before everything that is not shown yet, and after everything that is. Raises DependencyUnavailable."""
        async with plain_transaction(self._pool) as connection:
            oldest_open = await connection.fetchval("SELECT pg_snapshot_xmin(pg_current_snapshot())::text")
        return Position(xid=int(oldest_open) - 1, seq=2**53 - 1)

    def notices(self) -> int:
        """How often something was written so far, as far as this process heard."""
        return self._notices.count

    async def wait(self, timeout_seconds: float, seen: int | None = None) -> None:
        """Returns when something was written, or after that time, a second at most."""
        await self._notices.wait(timeout_seconds, seen)


class PostgresOutboxFeed:
    """Implements `OutboxFeed` on one connection of its own, which holds the lock: losing it is losing the place.

    The address must lead to Postgres itself or to a pooler in session mode.
    """

    def __init__(self, url: str) -> None:
        """`url` is a connection address of the relay's role; nothing is connected yet."""
        self._url: Final = url
        self._connection: Connection | None = None
        self._active = False
        self._written = asyncio.Event()

    async def acquire(self) -> bool:
        """True when this process is the active relay, now or still. Raises DependencyUnavailable, also for a database whose
        transaction counter stands behind its own outbox."""
        connection = await self._connected()
        if self._active:
            # The server's word that the connection, and with it the lock, is still there.
            await self._run(connection.fetchval("SELECT 1"))
            return True
        if not await self._run(connection.fetchval("SELECT pg_try_advisory_lock($1)", RELAY_LOCK)):
            return False
        if await self._run(connection.fetchval(_AHEAD)):
            await self.close()
            raise DependencyUnavailable(
                "The outbox is ahead of the database's transaction counter, as after a restore from a dump: restore a physical "
                "backup, or see docs/events.md."
            )
        self._active = True
        return True

    async def wait(self, timeout_seconds: float) -> None:
        """Returns when something was written since the last `next`, or after that time, a second at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(timeout_seconds, LOOK_AGAIN_SECONDS)):
                await self._written.wait()

    async def next(self, sink: str, limit: int) -> tuple[StoredEvent, ...]:
        """The events after the sink's position, of all tenants; a new sink begins with the oldest."""
        connection = self._held()
        self._written.clear()
        row = await self._run(connection.fetchrow(_POSITION, sink))
        start = Position(xid=int(row["xid"]), seq=row["seq"]) if row else START
        rows = await self._run(connection.fetch(_OF_ALL, str(start.xid), start.seq, limit))
        return tuple(_event(row) for row in rows)

    async def advance(self, sink: str, position: Position) -> None:
        """Moves the sink's position; a position before it changes nothing."""
        await self._run(self._held().execute(_ADVANCE, sink, str(position.xid), position.seq))

    async def backlog(self, sink: str) -> int:
        """Events the sink has not had, those included that an open transaction still holds back."""
        return await self._run(self._held().fetchval(_BACKLOG, sink))

    async def close(self) -> None:
        """Gives the place up."""
        connection, self._connection, self._active = self._connection, None, False
        if connection is not None:
            with contextlib.suppress(DependencyUnavailable), mapped_errors():
                await connection.close()

    def _held(self) -> Connection:
        if self._connection is None or not self._active:
            raise DependencyUnavailable("This process is not the active relay; acquire the place first.")
        return self._connection

    async def _connected(self) -> Connection:
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        self._active = False
        connection = self._connection = await connect(self._url, "somagent-relay")
        # A host that vanished must not hold the lock for the two hours that TCP would wait.
        await self._run(
            connection.execute("SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3")
        )
        await self._run(connection.add_listener(CHANNEL, self._hear))
        return connection

    def _hear(self, *_: object) -> None:
        self._written.set()

    async def _run(self, query: Awaitable[T]) -> T:
        """Whatever cannot be had, the connection is dropped and the place with it. Raises DependencyUnavailable."""
        try:
            with mapped_errors():
                return await query
        except DependencyUnavailable:
            self._drop()
            raise

    def _drop(self) -> None:
        connection, self._connection, self._active = self._connection, None, False
        if connection is not None:
            connection.terminate()
