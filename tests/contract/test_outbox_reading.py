"""The outbox is read in commit order: nothing is skipped, however late a transaction commits."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from uuid import uuid4

import pytest

from adapters.postgres.connection import Connection, Pool, connect, create_pool, tenant_transaction
from adapters.postgres.events import PostgresEvents, PostgresOutboxFeed
from adapters.postgres.notices import Notices
from adapters.postgres.outbox import event_of, insert_events
from domain.errors import DependencyUnavailable
from domain.event_data.documents import DocumentDeleted
from domain.event_data.sessions import TurnCancelled
from domain.events import NewEvent, Position, StoredEvent
from domain.ids import Prefix
from domain.names import Topic
from runtime.ids import new_id
from workers.embedded.postgres import SUPERUSER
from workers.embedded.stack import EmbeddedStack

AFTER_LOGICAL_RESTORE = Path(__file__).parents[2] / "adapters/postgres/after_logical_restore.sql"


@pytest.fixture
def tenant() -> str:
    return f"t-{uuid4().hex[:12]}"


@pytest.fixture
def sink() -> str:
    return f"sink-{uuid4().hex[:12]}"


@pytest.fixture
async def events(stack: EmbeddedStack, pool: Pool) -> AsyncIterator[PostgresEvents]:
    notices = Notices(stack.environment["DATABASE_URL"])
    yield PostgresEvents(pool, notices)
    await notices.close()


@pytest.fixture
async def feed(stack: EmbeddedStack) -> AsyncIterator[PostgresOutboxFeed]:
    feed = PostgresOutboxFeed(stack.environment["DATABASE_RELAY_URL"])
    yield feed
    await feed.close()


@pytest.fixture
async def late(stack: EmbeddedStack, tenant: str) -> AsyncIterator[Connection]:
    """A connection with a transaction open, for the test to commit."""
    connection = await connect(stack.environment["DATABASE_URL"], "tests-late")
    await connection.execute(f"BEGIN; SELECT set_config('app.tenant', '{tenant}', true)")
    yield connection
    await connection.close()


def some_event() -> NewEvent:
    return event_of(DocumentDeleted(document_id=new_id(Prefix.DOCUMENT)))


async def write(pool: Pool, tenant: str, *new: NewEvent) -> None:
    async with tenant_transaction(pool, tenant) as connection:
        await insert_events(connection, tenant, new)


async def page(events: PostgresEvents, tenant: str, after: Position | None = None) -> tuple[StoredEvent, ...]:
    return await events.page(tenant, topic=None, subject=None, after=after, limit=1000)


async def fed(feed: PostgresOutboxFeed, sink: str, tenant: str) -> list[str]:
    """Reads the feed to its end as a relay does; the ids of one tenant's events."""
    found: list[str] = []
    while batch := await feed.next(sink, 500):
        found += [event.event_id for event in batch if event.tenant_id == tenant]
        await feed.advance(sink, batch[-1].position)
    return found


def ids(found: Sequence[StoredEvent] | Sequence[NewEvent]) -> list[str]:
    return [event.event_id for event in found]


async def test_an_event_reads_as_it_was_written(events: PostgresEvents, pool: Pool, tenant: str) -> None:
    new = some_event().model_copy(update={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "data": {"bytes": 2**53 - 1, "n": None}})
    await write(pool, tenant, new)
    (stored,) = await page(events, tenant)
    assert NewEvent(**{name: getattr(stored, name) for name in NewEvent.model_fields}) == new
    assert stored.tenant_id == tenant
    assert stored.time.utcoffset() is not None


async def test_a_late_commit_is_not_skipped_as_it_is_by_a_plain_sequence(
    events: PostgresEvents, pool: Pool, late: Connection, tenant: str
) -> None:
    early, later = some_event(), some_event()
    await insert_events(late, tenant, [early])
    await write(pool, tenant, later)

    async def by_sequence(after: int) -> list[tuple[str, int]]:
        async with tenant_transaction(pool, tenant) as connection:
            query = "SELECT event_id, seq FROM outbox WHERE tenant_id = $1 AND seq > $2 ORDER BY seq"
            return [(row["event_id"], row["seq"]) for row in await connection.fetch(query, tenant, after)]

    plain = await by_sequence(0)
    assert [event_id for event_id, _ in plain] == [later.event_id]
    assert await page(events, tenant) == ()
    await late.execute("COMMIT")
    assert await by_sequence(plain[-1][1]) == []
    assert ids(await page(events, tenant)) == [early.event_id, later.event_id]


async def test_a_late_commit_is_not_skipped_by_the_relay(
    feed: PostgresOutboxFeed, pool: Pool, late: Connection, tenant: str, sink: str
) -> None:
    assert await feed.acquire()
    await fed(feed, sink, tenant)
    early, later = some_event(), some_event()
    await insert_events(late, tenant, [early])
    await write(pool, tenant, later)
    assert await fed(feed, sink, tenant) == []
    assert await feed.backlog(sink) == 1
    await late.execute("COMMIT")
    assert await feed.backlog(sink) == 2
    assert await fed(feed, sink, tenant) == [early.event_id, later.event_id]
    assert await feed.backlog(sink) == 0


async def test_rolled_back_numbers_are_gaps_and_nothing_else(
    events: PostgresEvents, feed: PostgresOutboxFeed, pool: Pool, tenant: str, sink: str
) -> None:
    kept = [some_event() for _ in range(4)]
    for event in kept:
        await write(pool, tenant, event)
        with contextlib.suppress(RuntimeError):
            async with tenant_transaction(pool, tenant) as connection:
                await insert_events(connection, tenant, [some_event(), some_event()])
                raise RuntimeError
    found = await page(events, tenant)
    assert ids(found) == ids(kept)
    assert found[-1].position.seq - found[0].position.seq > len(kept)
    assert await feed.acquire()
    assert await fed(feed, sink, tenant) == ids(kept)


@pytest.mark.parametrize("seed", range(4))
async def test_many_writers_at_once_lose_nothing_to_readers_that_follow(
    stack: EmbeddedStack, events: PostgresEvents, feed: PostgresOutboxFeed, tenant: str, sink: str, seed: int
) -> None:
    chance = random.Random(seed)
    committed: set[str] = set()

    async def writer(plan: list[tuple[int, bool, list[float]]]) -> None:
        connection = await connect(stack.environment["DATABASE_URL"], "tests-writer")
        for size, keep, pauses in plan:
            new = [some_event() for _ in range(size)]
            await connection.execute(f"BEGIN; SELECT set_config('app.tenant', '{tenant}', true)")
            for event, pause in zip(new, pauses, strict=True):
                await insert_events(connection, tenant, [event])
                await asyncio.sleep(pause)
            await connection.execute("COMMIT" if keep else "ROLLBACK")
            committed.update(ids(new) if keep else [])
        await connection.close()

    def plan() -> list[tuple[int, bool, list[float]]]:
        sizes = [chance.randint(1, 4) for _ in range(12)]
        return [(size, chance.random() < 0.8, [chance.random() * 0.01 for _ in range(size)]) for size in sizes]

    streamed: list[StoredEvent] = []
    relayed: list[str] = []

    async def follow() -> None:
        seen = await events.page(tenant, topic=None, subject=None, after=streamed[-1].position if streamed else None, limit=7)
        streamed.extend(seen)
        relayed.extend(await fed(feed, sink, tenant))

    assert await feed.acquire()
    async with asyncio.TaskGroup() as group:
        writers = [group.create_task(writer(plan())) for _ in range(8)]
        while not all(task.done() for task in writers):
            await follow()
    while len(streamed) < len(committed):
        before = len(streamed)
        await follow()
        assert len(streamed) > before
    await follow()
    assert set(ids(streamed)) == committed == set(relayed)
    assert len(streamed) == len(relayed) == len(committed)
    order = [(event.position.xid, event.position.seq) for event in streamed]
    assert order == sorted(order)


async def test_a_page_is_filtered_and_of_one_tenant(events: PostgresEvents, pool: Pool, tenant: str) -> None:
    session, other = new_id(Prefix.SESSION), new_id(Prefix.SESSION)
    turns = [event_of(TurnCancelled(session_id=of, turn_id=new_id(Prefix.TURN), seq=1)) for of in (session, other, session)]
    deleted = some_event()
    foreign = f"{tenant}-x"
    await write(pool, tenant, turns[0], deleted, turns[1], turns[2])
    await write(pool, foreign, event_of(TurnCancelled(session_id=session, turn_id=new_id(Prefix.TURN), seq=1)))

    async def read(topic: Topic | None = None, subject: str | None = None) -> list[str]:
        return ids(await events.page(tenant, topic=topic, subject=subject, after=None, limit=10))

    assert await read() == ids([turns[0], deleted, turns[1], turns[2]])
    assert await read(topic=Topic.SESSION_EVENTS) == ids(turns)
    assert await read(subject=session) == ids([turns[0], turns[2]])
    assert await read(topic=Topic.DOCUMENT_EVENTS, subject=deleted.subject) == ids([deleted])
    assert await read(topic=Topic.SLM_METRICS, subject=session) == []
    first = await events.page(tenant, topic=None, subject=None, after=None, limit=3)
    rest = await events.page(tenant, topic=None, subject=None, after=first[-1].position, limit=3)
    assert ids(first) + ids(rest) == await read()


async def test_what_was_written_after_the_page_ends_the_wait_at_once(events: PostgresEvents, pool: Pool, tenant: str) -> None:
    await events.wait(1.0)
    seen = events.notices()
    assert await page(events, tenant) == ()
    await write(pool, tenant, some_event())
    while events.notices() == seen:
        await events.wait(1.0, seen)
    async with asyncio.timeout(0.05):
        await events.wait(30.0, seen)


async def test_waiting_survives_a_lost_connection(events: PostgresEvents, pool: Pool, tenant: str) -> None:
    await events.wait(1.0)
    async with tenant_transaction(pool, tenant) as connection:
        ended = await connection.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'somagent-notices'"
        )
    assert ended >= 1
    # The connection that takes its place says so itself; what is written then is heard again.
    seen = events.notices()
    while events.notices() == seen:
        await events.wait(1.0, seen)
    seen = events.notices()
    await write(pool, tenant, some_event())
    while events.notices() == seen:
        await events.wait(1.0, seen)


async def test_a_wait_without_news_ends_within_its_time(events: PostgresEvents) -> None:
    async with asyncio.timeout(0.9):
        await events.wait(0.05)


async def test_one_relay_is_active_and_the_next_takes_over(stack: EmbeddedStack, feed: PostgresOutboxFeed, sink: str) -> None:
    standby = PostgresOutboxFeed(stack.environment["DATABASE_RELAY_URL"])
    try:
        assert await feed.acquire()
        assert await feed.acquire()
        assert not await standby.acquire()
        with pytest.raises(DependencyUnavailable):
            await standby.next(sink, 1)
        await feed.close()
        assert await standby.acquire()
        assert not await feed.acquire()
    finally:
        await standby.close()


async def test_a_lost_connection_is_a_lost_place(stack: EmbeddedStack, feed: PostgresOutboxFeed, sink: str) -> None:
    assert await feed.acquire()
    other = await connect(stack.environment["DATABASE_RELAY_URL"], "tests-killer")
    try:
        assert await other.fetchval(
            "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE application_name = 'somagent-relay'"
        )
    finally:
        await other.close()
    with pytest.raises(DependencyUnavailable):
        await feed.next(sink, 1)
    with pytest.raises(DependencyUnavailable):
        await feed.advance(sink, Position(xid=1, seq=1))
    assert await feed.acquire()
    await feed.next(sink, 1)


async def test_a_position_never_moves_back(feed: PostgresOutboxFeed, pool: Pool, tenant: str, sink: str) -> None:
    assert await feed.acquire()
    await write(pool, tenant, some_event())
    await fed(feed, sink, tenant)
    await feed.advance(sink, Position(xid=1, seq=1))
    assert await feed.next(sink, 10) == ()
    first = (await feed.next(f"{sink}-new", 1))[0]
    assert await feed.backlog(f"{sink}-new") > 0
    assert first.position.seq >= 1


async def test_events_restored_from_a_dump_are_put_before_those_to_come(tmp_path: Path) -> None:
    restored = EmbeddedStack(tmp_path / "home", parts=("postgres",), durable=False, tied=True)
    await asyncio.to_thread(restored.start)
    try:
        assert restored.postgres is not None
        secret = restored.keys.passwords().superuser
        admin = await connect(restored.postgres.url(SUPERUSER, secret), "tests-admin")
        # As a dump leaves it: numbers carried over, transactions of another cluster; the sink has had the first two.
        old = [("e1", "9000000000"), ("e2", "9000000007"), ("e3", "9000000005"), ("e4", "9000000009")]
        for event_id, xid in old:
            await admin.execute(
                "INSERT INTO outbox (xid, tenant_id, event_id, topic, type, subject, data) "
                "VALUES ($1::text::xid8, 't', $2, 'document.events', 'somagent.document.deleted.v1', 'doc', '{}')",
                xid,
                event_id,
            )
        await admin.execute("INSERT INTO relay_positions (sink, xid, seq) VALUES ('kafka', '9000000005', 3)")
        feed = PostgresOutboxFeed(restored.environment["DATABASE_RELAY_URL"])
        with pytest.raises(DependencyUnavailable, match="restore"):
            await feed.acquire()
        await admin.execute(AFTER_LOGICAL_RESTORE.read_text())
        await admin.close()
        pool = await create_pool(restored.environment["DATABASE_URL"], 1, "tests")
        later = some_event()
        await write(pool, "t", later)
        await pool.close()
        assert await feed.acquire()
        # The sink had e1 and e3; e2 and e4 it had not, and e3 may come again.
        assert await fed(feed, "kafka", "t") == ["e2", "e3", "e4", later.event_id]
        assert await fed(feed, "new", "t") == ["e1", "e2", "e3", "e4", later.event_id]
        await feed.close()
    finally:
        await asyncio.to_thread(restored.stop)


async def test_the_relay_refuses_a_database_whose_counter_was_reset(
    stack: EmbeddedStack, feed: PostgresOutboxFeed, tenant: str
) -> None:
    owner = await connect(stack.environment["DATABASE_MIGRATION_URL"], "tests-owner")
    tenant_set = f"BEGIN; SELECT set_config('app.tenant', '{tenant}', true)"
    try:
        await owner.execute(tenant_set)
        await owner.execute(
            "INSERT INTO outbox (xid, tenant_id, event_id, topic, type, subject, data) "
            "VALUES ('9007199254740000', $1, $1, 'document.events', 'somagent.document.deleted.v1', 'doc', '{}')",
            tenant,
        )
        await owner.execute("COMMIT")
        with pytest.raises(DependencyUnavailable, match="restore"):
            await feed.acquire()
    finally:
        await owner.execute(tenant_set)
        await owner.execute("DELETE FROM outbox WHERE tenant_id = $1", tenant)
        await owner.execute("COMMIT")
        await owner.close()
    assert await feed.acquire()
