"""Connections are shared between tenants, on a real Postgres: who waits for a budget leaves some to everybody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from contract.ledger_rows import Tenant
from live import until

from adapters.postgres.connection import Pool, create_pool, tenant_transaction
from workers.embedded.stack import EmbeddedStack

CONNECTIONS, CROWD = 4, 12
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tests-few' AND wait_event_type = 'Lock'"


@pytest.fixture
async def few(stack: EmbeddedStack) -> AsyncIterator[Pool]:
    pool = await create_pool(stack.environment["DATABASE_URL"], CONNECTIONS, "tests-few")
    yield pool
    await pool.close()


async def waiting(pool: Pool) -> int:
    """Connections that wait for a lock now: a transaction would be shown the same figures again."""
    async with pool.acquire() as connection:
        return await connection.fetchval(WAITING)


async def test_a_crowd_that_waits_for_its_budget_leaves_connections_to_others(pool: Pool, few: Pool) -> None:
    crowded, other = Tenant(few), Tenant(few)
    other.calls = crowded.calls
    budget = await crowded.budget(1_000)

    async def crowd_waits() -> bool:
        return await waiting(pool) >= CONNECTIONS // 2

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks, tenant_transaction(pool, crowded.id) as connection:
        await connection.execute("SELECT FROM budgets WHERE budget_id = $1 FOR UPDATE", budget.budget_id)
        for number in range(CROWD):
            tasks.create_task(crowded.begin(10, step=str(number)))
        await until(crowd_waits)
        async with asyncio.timeout(5):
            assert await other.begin(10) is None
        assert await waiting(pool) == CONNECTIONS // 2
    assert (await crowded.books(budget))[:2] == (0, 10 * CROWD)
