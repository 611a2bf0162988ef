"""API keys in Postgres: rows written with their events, and the look-up of a bearer before its tenant is known."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog

from adapters.postgres.blobs import stored_bytes
from adapters.postgres.capabilities import locked_capabilities
from adapters.postgres.connection import Pool, Row, plain_transaction, tenant_select, tenant_transaction
from adapters.postgres.outbox import event_of, insert_events
from domain.api_keys import ApiKeyInput, ApiKeyOutcome, ApiKeyRevocationInput, ApiKeyView
from domain.capabilities import all_within
from domain.errors import DomainError, Forbidden, NotFound
from domain.event_data.credentials import ApiKeyCreated, ApiKeyRevoked
from domain.ports.api_keys import ApiKeyRecord

_MAX_REMEMBERED: Final = 10_000
_USED_EVERY_SECONDS: Final = 60.0
_COLUMNS: Final = """
key_id, client_id, name, hint, scopes, created_by, created_at, expires_at, last_used_at, revoked_at,
CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= now() THEN 'expired' ELSE 'active' END AS status
"""

_CREATE: Final = """
INSERT INTO api_keys (tenant_id, key_id, client_id, name, secret_sha256, hint, scopes, created_by, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7::text[], $8, now() + make_interval(secs => $9))
ON CONFLICT (tenant_id, key_id) DO NOTHING
RETURNING secret_sha256, expires_at
"""
_CREATED: Final = "SELECT secret_sha256 FROM api_keys WHERE tenant_id = $1 AND key_id = $2"
_REVOKE: Final = """
UPDATE api_keys SET revoked_at = now() WHERE tenant_id = $1 AND key_id = $2 AND revoked_at IS NULL RETURNING client_id
"""
_EXISTS: Final = "SELECT true FROM api_keys WHERE tenant_id = $1 AND key_id = $2"
_SELECT: Final = " ".join(("SELECT", _COLUMNS, "FROM api_keys WHERE tenant_id = tenant.tenant_id"))
_GET: Final = f"{_SELECT} AND key_id = $2"
_PAGE: Final = f"{_SELECT} AND ($2::text IS NULL OR key_id < $2) ORDER BY key_id DESC LIMIT $3"
_FIND: Final = """
SELECT key_id, tenant_id, client_id, secret_sha256 AS key_sha256, scopes, created_at,
       revoked_at IS NULL AND (expires_at IS NULL OR expires_at > clock_timestamp()) AS stands
FROM api_keys WHERE secret_sha256 = $1
"""
_USED: Final = """
UPDATE api_keys SET last_used_at = now()
WHERE tenant_id = $1 AND key_id = $2 AND (last_used_at IS NULL OR last_used_at <= now() - interval '1 minute')
"""

log = structlog.get_logger("adapters.api_keys")


class PostgresApiKeys:
    """ApiKeyStore and ApiKeyReads over the table `api_keys`."""

    def __init__(self, pool: Pool) -> None:
        """`pool` connects as the application's role."""
        self._pool = pool

    async def create(self, key: ApiKeyInput) -> ApiKeyOutcome:
        """Adds the key and `api_key.created`; the first writer wins.

        Raises Forbidden when the client is disabled or lacks a scope, NotFound when the bytes of its name are gone.
        """
        actor = key.actor
        async with tenant_transaction(self._pool, actor.tenant_id) as connection:
            name = (await stored_bytes(connection, actor.tenant_id, key.name.sha256)).decode()
            kept: str | None = await connection.fetchval(_CREATED, actor.tenant_id, key.key_id)
            if kept is not None:
                return ApiKeyOutcome(key_sha256=kept)
            held = await locked_capabilities(connection, actor.tenant_id, actor.client_id)
            if held is None or not all_within(key.scopes, held):
                raise Forbidden("The client is disabled or no longer holds every scope of the key; ask for fewer.")
            row = await connection.fetchrow(
                _CREATE,
                actor.tenant_id,
                key.key_id,
                actor.client_id,
                name,
                key.key_sha256,
                key.hint,
                list(key.scopes),
                actor.subject,
                key.lifetime_seconds,
            )
            if row is None:
                return ApiKeyOutcome(key_sha256=await connection.fetchval(_CREATED, actor.tenant_id, key.key_id))
            created = ApiKeyCreated(
                key_id=key.key_id,
                client_id=actor.client_id,
                subject=actor.subject,
                scopes=key.scopes,
                expires_at=row["expires_at"],
            )
            await insert_events(connection, actor.tenant_id, (event_of(created),))
        return ApiKeyOutcome(key_sha256=row["secret_sha256"])

    async def revoke(self, revocation: ApiKeyRevocationInput) -> None:
        """Ends the key, with `api_key.revoked`. Raises NotFound; again is harmless."""
        tenant_id, key_id = revocation.actor.tenant_id, revocation.key_id
        async with tenant_transaction(self._pool, tenant_id) as connection:
            client_id: str | None = await connection.fetchval(_REVOKE, tenant_id, key_id)
            if client_id is not None:
                revoked = ApiKeyRevoked(key_id=key_id, client_id=client_id, subject=revocation.actor.subject)
                await insert_events(connection, tenant_id, (event_of(revoked),))
            elif not await connection.fetchval(_EXISTS, tenant_id, key_id):
                raise _unknown()

    async def get(self, tenant_id: str, key_id: str) -> ApiKeyView:
        """One key. Raises NotFound."""
        rows = await tenant_select(self._pool, tenant_id, _GET, key_id)
        if not rows:
            raise _unknown()
        return _view(rows[0])

    async def page(self, tenant_id: str, after: str | None, limit: int) -> tuple[ApiKeyView, ...]:
        """Newest first, from after that id on."""
        return tuple(_view(row) for row in await tenant_select(self._pool, tenant_id, _PAGE, after, limit))


class PostgresApiKeyDirectory:
    """Implements `ApiKeyDirectory`. An answer is remembered for a second at most, so a revoked key is out within that."""

    def __init__(
        self, token_pool: Pool, pool: Pool, memory_seconds: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`token_pool` belongs to the token endpoint's role, which sees every tenant's keys; `pool` to the application's."""
        self._token_pool, self._pool = token_pool, pool
        self._memory, self._clock = memory_seconds, clock
        self._known: dict[str, tuple[float, ApiKeyRecord | None]] = {}
        self._noted: dict[str, float] = {}
        self._writing: set[asyncio.Task[None]] = set()

    async def find(self, key_sha256: str) -> ApiKeyRecord | None:
        """The key, or None; also None is remembered, so that a client that repeats a bad key costs nothing."""
        known = self._known.get(key_sha256)
        if known is None or known[0] <= self._clock():
            # The time before asking: what is true now may have changed when the answer arrives.
            until = self._clock() + self._memory
            known = (until, await self._look_up(key_sha256))
            if len(self._known) >= _MAX_REMEMBERED:
                self._known.clear()
            self._known[key_sha256] = known
        return known[1]

    async def _look_up(self, key_sha256: str) -> ApiKeyRecord | None:
        async with plain_transaction(self._token_pool) as connection:
            row = await connection.fetchrow(_FIND, key_sha256)
        if row is None:
            return None
        return ApiKeyRecord.model_validate({name: row[name] for name in ApiKeyRecord.model_fields})

    def used(self, tenant_id: str, key_id: str) -> None:
        """Writes the time in the background, once a minute for each key."""
        now = self._clock()
        if self._noted.get(key_id, -_USED_EVERY_SECONDS) + _USED_EVERY_SECONDS > now:
            return
        if len(self._noted) >= _MAX_REMEMBERED:
            self._noted.clear()
        self._noted[key_id] = now
        task = asyncio.create_task(self._write_used(tenant_id, key_id))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _write_used(self, tenant_id: str, key_id: str) -> None:
        try:
            async with tenant_transaction(self._pool, tenant_id) as connection:
                await connection.execute(_USED, tenant_id, key_id)
        except DomainError as error:
            log.warning("key.use.not.noted", key=key_id, error=error.type)

    async def aclose(self) -> None:
        """Waits for what is being written."""
        await asyncio.gather(*self._writing, return_exceptions=True)


def _view(row: Row) -> ApiKeyView:
    return ApiKeyView.model_validate({name: row[name] for name in ApiKeyView.model_fields})


def _unknown() -> NotFound:
    return NotFound("No API key has that id.")
