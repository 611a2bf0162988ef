"""Transactions of which one tenant may have only so many open: a crowd that waits for one budget leaves connections to others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakValueDictionary

from adapters.postgres.connection import ACQUIRE_SECONDS, Connection, Pool, mapped_errors, tenant_transaction

_PART: Final = 2


class SharedTransactions:
    """Hands each tenant at most half of a pool's connections at once, first come, first served."""

    def __init__(self, pool: Pool) -> None:
        """`pool` is that of the application's role."""
        self._pool = pool
        self._each: Final = max(1, pool.get_max_size() // _PART)
        # A tenant's entry goes when nobody of it waits or works.
        self._places: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, tenant_id: str, *, alone: str | None = None) -> AsyncGenerator[Connection]:
        """A transaction as `tenant_transaction` makes it. DependencyUnavailable also when no place is free in ten seconds."""
        place = self._places.setdefault(tenant_id, asyncio.Semaphore(self._each))
        with mapped_errors():
            async with asyncio.timeout(ACQUIRE_SECONDS):
                await place.acquire()
        try:
            async with tenant_transaction(self._pool, tenant_id, alone=alone) as connection:
                yield connection
        finally:
            place.release()
