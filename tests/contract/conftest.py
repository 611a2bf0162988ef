"""Fixtures of the adapters' tests: a pool on the embedded Postgres, as the application's role."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from adapters.postgres.connection import Pool, create_pool
from workers.embedded.stack import EmbeddedStack


@pytest.fixture(scope="session")
async def pool(stack: EmbeddedStack) -> AsyncIterator[Pool]:
    """Row-level security holds for it; give each test a tenant of its own."""
    pool = await create_pool(stack.environment["DATABASE_URL"], 4, "tests")
    yield pool
    await pool.close()
