"""A tenant's transaction on a real Postgres: commit, rollback, cancellation, no state left behind, and what counts as down."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest

from adapters.postgres.connection import Pool, connect, create_pool, plain_transaction, tenant_transaction
from adapters.postgres.outbox import event_of, insert_events
from domain.errors import DependencyUnavailable
from domain.event_data.documents import DocumentDeleted
from workers.embedded.stack import EmbeddedStack


@pytest.fixture
def tenant() -> str:
    return f"t-{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def one(stack: EmbeddedStack) -> AsyncIterator[Pool]:
    """A pool of a single connection, so that each transaction follows on the state the former left."""
    pool = await create_pool(stack.environment["DATABASE_URL"], 1)
    yield pool
    await pool.close()


def document(number: int) -> str:
    return f"doc_{number:032x}"


async def write(pool: Pool, tenant: str, *numbers: int) -> None:
    async with tenant_transaction(pool, tenant) as connection:
        events = [event_of(DocumentDeleted(document_id=document(number))) for number in numbers]
        await insert_events(connection, tenant, events)


async def subjects(pool: Pool, tenant: str) -> list[str]:
    async with tenant_transaction(pool, tenant) as connection:
        return [row["subject"] for row in await connection.fetch("SELECT subject FROM outbox ORDER BY xid, seq")]


async def test_events_stand_in_the_order_they_were_given(one: Pool, tenant: str) -> None:
    await write(one, tenant, 3, 1, 2)
    await write(one, tenant)
    assert await subjects(one, tenant) == [document(3), document(1), document(2)]


async def test_an_error_rolls_back_and_passes(one: Pool, tenant: str) -> None:
    async def failing() -> None:
        async with tenant_transaction(one, tenant) as connection:
            await insert_events(connection, tenant, [event_of(DocumentDeleted(document_id=document(1)))])
            raise KeyError

    with pytest.raises(KeyError):
        await failing()
    assert await subjects(one, tenant) == []


async def test_the_tenant_ends_with_its_transaction(one: Pool, tenant: str) -> None:
    await write(one, tenant, 1)
    assert await subjects(one, f"{tenant}-o") == []
    async with plain_transaction(one) as connection:
        assert await connection.fetchval("SELECT current_tenant()") is None
        assert await connection.fetch("SELECT * FROM outbox") == []


async def test_a_cancelled_transaction_leaves_no_transaction_open(one: Pool, tenant: str) -> None:
    started = asyncio.Event()

    async def slow() -> None:
        async with tenant_transaction(one, tenant) as connection:
            await insert_events(connection, tenant, [event_of(DocumentDeleted(document_id=document(1)))])
            started.set()
            await connection.execute("SELECT pg_sleep(30)")

    task = asyncio.create_task(slow())
    await started.wait()
    task.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await subjects(one, tenant) == []
    assert time.monotonic() - began < 5


async def test_json_and_times_come_back_as_values(one: Pool, tenant: str) -> None:
    async with tenant_transaction(one, tenant) as connection:
        value = {"a": [1, None, "\u00e9"], "b": {"c": 2**53 - 1}}
        row = await connection.fetchrow("SELECT $1::jsonb AS value, now() AS at", value)
    assert row is not None
    assert row["value"] == value
    assert row["at"].utcoffset().total_seconds() == 0


async def test_a_statement_that_takes_too_long_is_unavailable(one: Pool, tenant: str) -> None:
    async def slow() -> None:
        async with tenant_transaction(one, tenant) as connection:
            await connection.execute("SET LOCAL statement_timeout = 50")
            await connection.execute("SELECT pg_sleep(5)")

    with pytest.raises(DependencyUnavailable, match="QueryCanceled"):
        await slow()
    assert await subjects(one, tenant) == []


async def test_a_mistake_in_a_statement_is_no_outage(one: Pool, tenant: str) -> None:
    for query, argument in (("SELECT nonsense", ()), ("SELECT $1::int", ("x",)), ("SELECT 1", (1,))):
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
            async with tenant_transaction(one, tenant) as connection:
                await connection.fetch(query, *argument)


async def test_a_killed_server_is_unavailable_and_then_back(stack: EmbeddedStack, one: Pool, tenant: str) -> None:
    postgres = stack.part("postgres")

    async def killed_within() -> None:
        async with tenant_transaction(one, tenant) as connection:
            await asyncio.to_thread(postgres.kill9)
            await connection.fetchval("SELECT 1")

    try:
        with pytest.raises(DependencyUnavailable):
            await killed_within()
        with pytest.raises(DependencyUnavailable):
            await subjects(one, tenant)
    finally:
        await asyncio.to_thread(postgres.start)
    assert await subjects(one, tenant) == []


async def test_a_connection_of_its_own_hears_of_new_events(stack: EmbeddedStack, one: Pool, tenant: str) -> None:
    heard = asyncio.Event()
    connection = await connect(stack.environment["DATABASE_URL"])
    try:
        await connection.add_listener("outbox", lambda *_: heard.set())
        await write(one, tenant, 1)
        await asyncio.wait_for(heard.wait(), 5)
    finally:
        await connection.close()
