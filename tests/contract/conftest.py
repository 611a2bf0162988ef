"""Fixtures of the adapters' tests: a pool on the embedded Postgres, as the application's role; every model vendor."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from contract.provider_cases import VENDORS, Case, every_fake, running
from fakes.vendor_server import FakeVendor

from adapters.postgres.connection import Pool, create_pool
from domain.effect_guard import guarded
from workers.embedded.stack import EmbeddedStack


@pytest.fixture(scope="session")
async def pool(stack: EmbeddedStack) -> AsyncIterator[Pool]:
    """Row-level security holds for it; give each test a tenant of its own."""
    pool = await create_pool(stack.environment["DATABASE_URL"], 4, "tests")
    yield pool
    await pool.close()


@pytest.fixture(scope="module")
async def fakes() -> AsyncIterator[dict[str, FakeVendor]]:
    """A fake of every model vendor, by the vendor's name."""
    async with every_fake() as found:
        yield found


@pytest.fixture(autouse=True)
async def _effects_may_begin() -> AsyncIterator[None]:
    """Adapters are called here without an activity around them, which would set the guard."""
    with guarded(lambda: None):
        yield


@pytest.fixture(params=VENDORS)
async def case(request: pytest.FixtureRequest, fakes: dict[str, FakeVendor]) -> AsyncIterator[Case]:
    """One vendor after the other: its fake, which begins anew, and the adapter that talks to it."""
    async with running(request.param, fakes[request.param]) as found:
        yield found
