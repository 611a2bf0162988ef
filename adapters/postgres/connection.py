"""Connections to Postgres: a pool, and a transaction that belongs to one tenant.

A pooled connection is handed on without `RESET ALL` (a round trip saved), so it may keep no session state: LISTEN and session
locks belong on a connection of their own, from `connect`.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from typing import Any, Final, Protocol

import asyncpg
import pydantic_core

from domain.errors import DependencyUnavailable

CONNECT_SECONDS: Final = 5.0
ACQUIRE_SECONDS: Final = 10.0
COMMAND_SECONDS: Final = 20.0
ROLLBACK_SECONDS: Final = 2.0
_SERVER_SETTINGS: Final = {
    "timezone": "UTC",
    # Milliseconds. The server gives up before the client does, so that a connection is not torn down for a slow statement.
    "statement_timeout": "15000",
    "lock_timeout": "10000",
    "idle_in_transaction_session_timeout": "60000",
}
_TENANT_ROW: Final = "WITH tenant AS MATERIALIZED (SELECT set_config('app.tenant', $1, true) AS tenant_id)"
# OFFSET 0 keeps the planner from drawing the query into the outer one, where it could run before the tenant is set.
_FIND: Final = "SELECT found.* FROM tenant CROSS JOIN LATERAL ("
_FOUND: Final = "OFFSET 0) AS found"
_TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,47}")

# asyncpg ships no annotations; the protocols below type the part of it that we use.
_driver: Any = asyncpg

_UNAVAILABLE: Final[tuple[type[Exception], ...]] = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutting down, crashed, starting up, statement timeout
    asyncpg.InsufficientResourcesError,  # disk full, too many connections
    asyncpg.TransactionRollbackError,  # deadlock, serialization failure
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,  # connected to what was the primary
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InternalClientError,  # the server said goodbye to an idle connection, which breaks the driver's own state
)


class Row(Protocol):
    """One row, by column name."""

    def __getitem__(self, key: str) -> Any: ...


class Connection(Protocol):
    """What we use of a connection. Transactions come from `tenant_transaction`; the driver's own do not nest in it."""

    async def execute(self, query: str, *args: object) -> str:
        """Runs a statement; the command tag (`INSERT 0 1`)."""
        ...

    async def fetch(self, query: str, *args: object) -> Sequence[Row]:
        """All rows."""
        ...

    async def fetchrow(self, query: str, *args: object) -> Row | None:
        """The first row."""
        ...

    async def fetchval(self, query: str, *args: object) -> Any:
        """The first column of the first row."""
        ...

    async def add_listener(self, channel: str, callback: Callable[..., None]) -> None:
        """Calls back on NOTIFY; on a connection of `connect` only."""
        ...

    def add_termination_listener(self, callback: Callable[..., None]) -> None:
        """Calls back once it is closed, by whomever; on a connection of `connect` only."""
        ...

    def is_closed(self) -> bool:
        """True once it cannot be used."""
        ...

    def terminate(self) -> None:
        """Drops it at once."""
        ...

    async def close(self) -> None:
        """Ends it in order."""
        ...


class Pool(Protocol):
    """What we use of a pool."""

    def acquire(self, *, timeout: float | None = None) -> AbstractAsyncContextManager[Connection]:
        """Lends a connection; TimeoutError after that many seconds."""
        ...

    def get_max_size(self) -> int:
        """How many connections it has at most."""
        ...

    async def close(self) -> None:
        """Waits for lent connections, then closes all."""
        ...

    def terminate(self) -> None:
        """Closes all at once."""
        ...


def _means_unavailable(error: Exception) -> bool:
    """The driver says with one class that the connection or pool was closed under us, and that we called it wrongly.

    A connection that broke while it was lent counts as released.
    """
    if isinstance(error, asyncpg.InterfaceError):
        return "clos" in str(error) or "released back to the pool" in str(error)
    return isinstance(error, _UNAVAILABLE)


@contextmanager
def mapped_errors() -> Generator[None]:
    """Turns what means that Postgres is not to be had just now into DependencyUnavailable; other errors pass."""
    try:
        yield
    except (*_UNAVAILABLE, asyncpg.InterfaceError) as error:
        if not _means_unavailable(error):
            raise
        if isinstance(error, ssl.SSLError):
            raise DependencyUnavailable(
                f"The connection to Postgres cannot be trusted ({getattr(error, 'verify_message', error.reason)}); see that its "
                "certificate names the server as the address does, and that sslrootcert holds its authority."
            ) from error
        raise DependencyUnavailable(
            f"Postgres does not answer ({type(error).__name__}); try again, and see that DATABASE_URL names a running server."
        ) from error


def _encode(value: Any) -> str:
    return pydantic_core.to_json(value).decode()


async def _prepare(connection: Any) -> None:
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=_encode, decoder=pydantic_core.from_json)


async def _keep(_connection: Any) -> None:
    """In place of the pool's reset queries: an open transaction was ended already, and there is no other state."""


def _arguments(url: str, application_name: str) -> dict[str, Any]:
    return {
        "dsn": url,
        "timeout": CONNECT_SECONDS,
        "command_timeout": COMMAND_SECONDS,
        "server_settings": {**_SERVER_SETTINGS, "application_name": application_name},
    }


async def create_pool(url: str, size: int, application_name: str = "somagent") -> Pool:
    """A pool of at most `size` connections, times in UTC, jsonb as Python values. Raises DependencyUnavailable."""
    open_pool: Callable[..., Awaitable[Pool]] = _driver.create_pool
    with mapped_errors():
        return await open_pool(
            **_arguments(url, application_name), min_size=1, max_size=size, init=_prepare, reset=_keep, statement_cache_size=256
        )


async def connect(url: str, application_name: str = "somagent") -> Connection:
    """One connection outside a pool, for LISTEN or a session lock. Raises DependencyUnavailable."""
    open_one: Callable[..., Awaitable[Connection]] = _driver.connect
    with mapped_errors():
        connection = await open_one(**_arguments(url, application_name))
        await _prepare(connection)
    return connection


async def _roll_back(connection: Connection) -> None:
    """Leaves no transaction behind: a connection that cannot roll back is dropped.

    A request to cancel may reach the server before the statement it is for, which then runs on: that is not waited for.
    """
    try:
        async with asyncio.timeout(ROLLBACK_SECONDS):
            await connection.execute("ROLLBACK")
    except asyncio.CancelledError:
        _drop(connection)
        raise
    except (*_UNAVAILABLE, asyncpg.InterfaceError, asyncpg.PostgresError):
        _drop(connection)


def _drop(connection: Connection) -> None:
    # One that broke has been taken back by the pool already, which the driver calls a misuse.
    with suppress(asyncpg.InterfaceError):
        connection.terminate()


@asynccontextmanager
async def _begun(pool: Pool, begin: str) -> AsyncGenerator[Connection]:
    with mapped_errors():
        async with pool.acquire(timeout=ACQUIRE_SECONDS) as connection:
            try:
                await connection.execute(begin)
                yield connection
                await connection.execute("COMMIT")
            except BaseException:
                await _roll_back(connection)
                raise


def tenant_transaction(pool: Pool, tenant_id: str, *, alone: str | None = None) -> AbstractAsyncContextManager[Connection]:
    """A transaction that sees one tenant's rows; committed at the end, rolled back on any error.

    Of the transactions with the same `alone` one goes on at a time. BEGIN, the tenant and that lock go in one round trip, which
    takes no parameters: the tenant is checked here, then quoted. Raises DependencyUnavailable when Postgres does not answer, and
    ValueError for what is no tenant id.
    """
    _require_slug(tenant_id)
    begin = f"BEGIN; SELECT set_config('app.tenant', '{tenant_id}', true)"
    return _begun(pool, begin if alone is None else f"{begin}; SELECT pg_advisory_xact_lock({_lock(alone)})")


def _lock(name: str) -> int:
    """The number of an advisory lock: a signed bigint."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), signed=True)


async def tenant_insert(pool: Pool, tenant_id: str, statement: str, *args: object) -> Sequence[Row]:
    """One `INSERT … SELECT tenant_id, … FROM tenant …` as a transaction of its own, in one round trip instead of three; what it
    returns.

    `tenant` has one row, whose making sets the tenant of the transaction: a row that takes its tenant from there is written
    after that, and one that does not is refused by row-level security. `args` are $2 and on. Raises as `tenant_transaction`.
    """
    return await _alone(pool, tenant_id, f"{_TENANT_ROW} {statement}", args)


async def tenant_select(pool: Pool, tenant_id: str, query: str, *args: object) -> Sequence[Row]:
    """The rows of one query as a transaction of its own, in one round trip instead of three.

    The query compares with `tenant.tenant_id`, which makes it run after the tenant was set; one that does not name it may run
    before, and then finds nothing. `args` are $2 and on. Raises as `tenant_transaction`.
    """
    return await _alone(pool, tenant_id, " ".join((_TENANT_ROW, _FIND, query, _FOUND)), args)


async def _alone(pool: Pool, tenant_id: str, statement: str, args: Sequence[object]) -> Sequence[Row]:
    _require_slug(tenant_id)
    with mapped_errors():
        async with pool.acquire(timeout=ACQUIRE_SECONDS) as connection:
            try:
                return await connection.fetch(statement, tenant_id, *args)
            except BaseException:
                await _roll_back(connection)
                raise


def _require_slug(tenant_id: str) -> None:
    if _TENANT.fullmatch(tenant_id) is None:
        raise ValueError("A tenant id is a slug of at most 48 characters.")


def plain_transaction(pool: Pool) -> AbstractAsyncContextManager[Connection]:
    """A transaction of no tenant, for the relay's and the token endpoint's roles; row-level security still holds."""
    return _begun(pool, "BEGIN")
