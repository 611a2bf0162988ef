"""One statement as a tenant's transaction, on a real Postgres: that tenant's rows alone, and nothing left behind."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest

from adapters.postgres.connection import Pool, create_pool, plain_transaction, tenant_insert, tenant_select, tenant_transaction
from domain.errors import DependencyUnavailable
from workers.embedded.stack import EmbeddedStack

PUT = "INSERT INTO blobs (tenant_id, sha256, media_type, content) SELECT tenant_id, $2, 'text/plain', $3 FROM tenant"
FOREIGN = "INSERT INTO blobs (tenant_id, sha256, media_type, content) SELECT $4, $2, 'text/plain', $3 FROM tenant"
GET = "SELECT content FROM blobs WHERE tenant_id = tenant.tenant_id AND sha256 = $2"
ALL = "SELECT tenant_id FROM blobs WHERE tenant.tenant_id IS NOT NULL"


@pytest.fixture
def tenant() -> str:
    return f"t-{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def one(stack: EmbeddedStack) -> AsyncIterator[Pool]:
    """A pool of a single connection, so that each statement follows on the state the former left."""
    pool = await create_pool(stack.environment["DATABASE_URL"], 1)
    yield pool
    await pool.close()


async def put(pool: Pool, tenant: str, content: bytes) -> str:
    sha256 = hashlib.sha256(content).hexdigest()
    await tenant_insert(pool, tenant, PUT, sha256, content)
    return sha256


async def test_what_one_tenant_wrote_it_finds_and_no_other_does(one: Pool, tenant: str) -> None:
    sha256 = await put(one, tenant, b"first")
    assert [row["content"] for row in await tenant_select(one, tenant, GET, sha256)] == [b"first"]
    assert await tenant_select(one, f"{tenant}-b", GET, sha256) == []
    await put(one, f"{tenant}-b", b"second")
    for owner in (tenant, f"{tenant}-b"):
        assert [row["tenant_id"] for row in await tenant_select(one, owner, ALL)] == [owner]


async def test_it_holds_once_the_plan_is_made_for_any_tenant(one: Pool, tenant: str) -> None:
    tenants = [f"{tenant}-{number}" for number in range(20)]
    stored = {owner: await put(one, owner, owner.encode()) for owner in tenants}
    for owner in tenants:
        assert [row["content"] for row in await tenant_select(one, owner, GET, stored[owner])] == [owner.encode()]


async def test_a_row_of_another_tenant_is_refused(one: Pool, tenant: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await tenant_insert(one, tenant, FOREIGN, "0" * 64, b"", f"{tenant}-b")
    assert await tenant_select(one, f"{tenant}-b", ALL) == []


async def test_no_tenant_is_left_behind(one: Pool, tenant: str) -> None:
    await put(one, tenant, b"content")
    async with plain_transaction(one) as connection:
        assert await connection.fetchval("SELECT coalesce(current_setting('app.tenant', true), '')") == ""
        assert await connection.fetchval("SELECT count(*) FROM blobs") == 0


async def test_each_is_a_transaction_of_its_own(one: Pool, tenant: str) -> None:
    sha256 = await put(one, tenant, b"content")
    with pytest.raises(asyncpg.UniqueViolationError):
        await put(one, tenant, b"content")
    async with tenant_transaction(one, tenant) as connection:
        assert await connection.fetchval("SELECT sha256 FROM blobs") == sha256


async def test_what_is_no_tenant_id_is_not_asked_about(one: Pool) -> None:
    for wrong in ("", "Upper", "a'b", "x" * 49):
        with pytest.raises(ValueError, match="slug"):
            await tenant_select(one, wrong, ALL)


async def test_a_cancelled_statement_leaves_the_connection_usable(one: Pool, tenant: str) -> None:
    slow = "SELECT pg_sleep(30) FROM blobs RIGHT JOIN (SELECT tenant.tenant_id) AS own ON blobs.tenant_id = own.tenant_id"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await tenant_select(one, tenant, slow)
    assert await tenant_select(one, tenant, ALL) == []


async def test_a_server_that_is_away_is_unavailable(stack: EmbeddedStack, one: Pool, tenant: str) -> None:
    postgres = stack.part("postgres")
    await asyncio.to_thread(postgres.stop)
    try:
        with pytest.raises(DependencyUnavailable):
            await tenant_select(one, tenant, ALL)
    finally:
        await asyncio.to_thread(postgres.start)
    assert await tenant_select(one, tenant, ALL) == []
