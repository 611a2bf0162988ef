"""Claims on Idempotency-Keys in Postgres: one statement claims, takes over or starts an expired key afresh.

The row keeps the resource that the first attempt fixed, whoever finishes the work. Times are the server's own, so that
gateways with different clocks agree.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from adapters.postgres.connection import Pool, Row, tenant_insert, tenant_transaction
from domain.actors import Actor
from domain.errors import IdempotencyKeyReused, RequestInProgress
from domain.ports.idempotency import LEASE_SECONDS, Claim

_SWEEP_EVERY: Final = 256
_SWEEP_ROWS: Final = 1000

# The update happens only when the key is free again: expired after 24 hours, or unanswered with its lease run out.
# Its conditions read the row as it was before.
_CLAIM: Final = """
INSERT INTO idempotency_keys AS held (tenant_id, client_id, route, key, body_sha256, resource, lease_until)
SELECT tenant_id, $2, $3, $4, $5, $6, clock_timestamp() + make_interval(secs => $7) FROM tenant
ON CONFLICT (tenant_id, client_id, route, key) DO UPDATE SET
    body_sha256 = excluded.body_sha256,
    resource = CASE WHEN held.created_at < now() - interval '24 hours' THEN excluded.resource ELSE held.resource END,
    created_at = CASE WHEN held.created_at < now() - interval '24 hours' THEN excluded.created_at ELSE held.created_at END,
    lease_until = excluded.lease_until,
    status = NULL,
    response = NULL
WHERE held.created_at < now() - interval '24 hours'
   OR (held.status IS NULL AND held.body_sha256 = excluded.body_sha256 AND held.lease_until <= clock_timestamp())
RETURNING resource
"""
_HELD: Final = """
SELECT body_sha256, resource, status, response FROM idempotency_keys
WHERE tenant_id = $1 AND client_id = $2 AND route = $3 AND key = $4
"""
_RENEW: Final = """
UPDATE idempotency_keys SET lease_until = clock_timestamp() + make_interval(secs => $5)
WHERE tenant_id = $1 AND client_id = $2 AND route = $3 AND key = $4 AND status IS NULL
"""
_RELEASE: Final = """
UPDATE idempotency_keys SET lease_until = '-infinity'
WHERE tenant_id = $1 AND client_id = $2 AND route = $3 AND key = $4 AND status IS NULL
"""
_ANSWER: Final = """
UPDATE idempotency_keys SET status = $5, response = $6
WHERE tenant_id = $1 AND client_id = $2 AND route = $3 AND key = $4 AND status IS NULL
"""
_SWEEP: Final = """
DELETE FROM idempotency_keys WHERE tenant_id = $1 AND (client_id, route, key) IN (
    SELECT client_id, route, key FROM idempotency_keys
    WHERE tenant_id = $1 AND created_at < now() - interval '24 hours'
    ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)
"""


class PostgresClaims:
    """Implements `Claims`. Every 256th claim also deletes expired keys of its tenant."""

    def __init__(self, pool: Pool, lease_seconds: float = LEASE_SECONDS) -> None:
        """`pool` belongs to the application's role."""
        self._pool = pool
        self._lease = lease_seconds
        self._claims = 0

    async def claim(self, actor: Actor, route: str, key: str, body_sha256: str, resource: UUID) -> Claim:
        """Claims the key. Raises IdempotencyKeyReused, RequestInProgress, DependencyUnavailable."""
        self._claims += 1
        if self._claims % _SWEEP_EVERY == 0:
            async with tenant_transaction(self._pool, actor.tenant_id) as connection:
                await connection.execute(_SWEEP, actor.tenant_id, _SWEEP_ROWS)
        claimed = await tenant_insert(
            self._pool, actor.tenant_id, _CLAIM, actor.caller, route, key, body_sha256, resource, self._lease
        )
        if claimed:
            return Claim(resource=claimed[0]["resource"])
        return _answered(await self._held(actor, route, key), body_sha256)

    async def _held(self, actor: Actor, route: str, key: str) -> Row:
        async with tenant_transaction(self._pool, actor.tenant_id) as connection:
            row = await connection.fetchrow(_HELD, *_identity(actor, route, key))
        if row is None:
            # Deleted between the two statements, which only an expired key is.
            raise RequestInProgress("This Idempotency-Key has just expired; send the request again.", retry_after=1)
        return row

    async def renew(self, actor: Actor, route: str, key: str) -> None:
        """Extends the lease; nothing happens to a key that is answered."""
        async with tenant_transaction(self._pool, actor.tenant_id) as connection:
            await connection.execute(_RENEW, *_identity(actor, route, key), self._lease)

    async def release(self, actor: Actor, route: str, key: str) -> None:
        """Ends the lease; the resource and the body stay fixed."""
        async with tenant_transaction(self._pool, actor.tenant_id) as connection:
            await connection.execute(_RELEASE, *_identity(actor, route, key))

    async def answer(self, actor: Actor, route: str, key: str, status: int, response: dict[str, Any]) -> None:
        """Keeps the first answer; a later one changes nothing."""
        async with tenant_transaction(self._pool, actor.tenant_id) as connection:
            await connection.execute(_ANSWER, *_identity(actor, route, key), status, response)


def _identity(actor: Actor, route: str, key: str) -> tuple[str, str, str, str]:
    return actor.tenant_id, actor.caller, route, key


def _answered(row: Row, body_sha256: str) -> Claim:
    if row["body_sha256"] != body_sha256:
        raise IdempotencyKeyReused("This Idempotency-Key was used with another body; take a new key for a new request.")
    if row["status"] is None:
        raise RequestInProgress("The request with this Idempotency-Key is being worked on; ask again shortly.", retry_after=1)
    return Claim(resource=row["resource"], status=row["status"], response=row["response"])
