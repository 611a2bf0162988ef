"""Tenants and clients in Postgres.

Secrets are kept as plain SHA-256: they are 256 random bits that we made, so there is nothing to guess and a slow hash would
only slow the token endpoint down. Nobody chooses a secret.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from datetime import datetime
from itertools import repeat
from typing import Final, NamedTuple

from adapters.postgres.capabilities import held
from adapters.postgres.connection import Pool, plain_transaction, tenant_select, tenant_transaction
from domain.actors import Actor
from domain.api_keys import key_of
from domain.base import Contract
from domain.capabilities import within
from domain.delegation import holders
from domain.names import Scope
from domain.ports.identity import ClientRecord
from domain.revocations import Named, RevocationKind, named, refused
from domain.sign_in import PUBLIC_CLIENTS

_FIND: Final = """
SELECT client_id, tenant_id, secret_sha256, scopes, roles,
       ARRAY(SELECT unnest(r.capabilities) FROM roles r WHERE r.tenant_id = c.tenant_id AND r.name = ANY (c.roles)) AS of_roles,
       CASE WHEN former_secret_until > clock_timestamp() THEN former_secret_sha256 END AS former_secret_sha256,
       disabled_at IS NOT NULL
           OR NOT EXISTS (SELECT FROM tenants t WHERE t.tenant_id = c.tenant_id AND t.deleted_at IS NULL) AS disabled
FROM clients c WHERE client_id = $1
"""
_MAX_REMEMBERED: Final = 10_000
# Of each client that holds a token of the chain what it may do, and what revocations say of the chain. A key is its own client's.
_STANDING: Final = """
SELECT 'holds' AS kind, client_id AS value, scopes, roles, NULL::timestamptz AS before,
    ARRAY(SELECT unnest(r.capabilities) FROM roles r WHERE r.tenant_id = c.tenant_id AND r.name = ANY (c.roles)) AS of_roles
FROM clients c WHERE tenant_id = tenant.tenant_id AND client_id = ANY ($2::text[]) AND disabled_at IS NULL
  AND EXISTS (SELECT FROM tenants t WHERE t.tenant_id = c.tenant_id AND t.deleted_at IS NULL)
  AND ($3::text IS NULL OR EXISTS (
      SELECT FROM api_keys k WHERE k.tenant_id = c.tenant_id AND k.key_id = $3 AND k.client_id = c.client_id
        AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())))
UNION ALL
SELECT kind, value, NULL, NULL, max(before), NULL
FROM revocations WHERE tenant_id = tenant.tenant_id
  AND (kind = 'all' OR (kind, value) IN (SELECT * FROM unnest($4::text[], $5::text[])))
GROUP BY kind, value
"""
_HOLDS: Final = "holds"


class NewClient(Contract):
    """A client as it was made; `secret` is shown this once and kept nowhere."""

    client_id: str
    tenant_id: str
    secret: str
    scopes: tuple[str, ...]


class PostgresClientDirectory:
    """Implements `ClientDirectory` with the token endpoint's own role, which sees every tenant's clients and nothing else."""

    def __init__(self, pool: Pool) -> None:
        """`pool` belongs to the token role."""
        self._pool = pool

    async def find(self, client_id: str) -> ClientRecord | None:
        """The client, or None. Raises DependencyUnavailable."""
        async with plain_transaction(self._pool) as connection:
            row = await connection.fetchrow(_FIND, client_id)
        if row is None:
            return None
        return ClientRecord(
            client_id=row["client_id"],
            tenant_id=row["tenant_id"],
            secret_sha256=row["secret_sha256"],
            scopes=(*row["scopes"], *sorted(held(row).difference(row["scopes"]))),
            disabled=row["disabled"],
            former_secret_sha256=row["former_secret_sha256"],
        )


class _Known(NamedTuple):
    """What the rows say of a token or key: what each standing client of its chain holds, and what was revoked of it."""

    until: float
    held: dict[str, frozenset[str]]
    revoked: dict[Named, datetime]

    def allows(self, client_id: str, scopes: tuple[str, ...]) -> bool:
        """Whether that client stands and holds these scopes."""
        held = self.held.get(client_id)
        # Nearly always it holds them word for word, and this is asked with every request.
        return held is not None and all(scope in held or within(scope, held) for scope in scopes)


class PostgresStanding:
    """Implements `Standing`. An answer is remembered for a second at most, so a disabled client, a revoked key or a revoked
    token is out within that."""

    def __init__(self, pool: Pool, memory_seconds: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        """`pool` belongs to the application's role; `memory_seconds` 0 asks every time."""
        self._pool = pool
        self._memory = memory_seconds
        self._clock = clock
        self._known: dict[tuple[object, ...], _Known] = {}

    async def stands(self, actor: Actor) -> bool:
        """False once the token or one that it was delegated from was revoked, a client that holds one of them is disabled or
        gone or no longer has the scopes, or its API key no longer stands. Raises DependencyUnavailable."""
        key = (actor.tenant_id, actor.client_id, key_of(actor), actor.subject, actor.act, actor.jti, actor.ancestors)
        known = self._known.get(key)
        if known is None or known.until <= self._clock():
            # The time before asking: what is true now may have changed when the answer arrives.
            known = await self._asked(actor, self._clock() + self._memory)
            if len(self._known) >= _MAX_REMEMBERED:
                self._known.clear()
            self._known[key] = known
        return all(map(known.allows, _clients(actor), repeat(actor.scopes))) and not refused(actor, known.revoked)

    async def _asked(self, actor: Actor, until: float) -> _Known:
        names = [(kind.value, value) for kind, value in named(actor) if value is not None]
        kinds, values = [kind for kind, _ in names], [value for _, value in names]
        rows = await tenant_select(self._pool, actor.tenant_id, _STANDING, _clients(actor), key_of(actor), kinds, values)
        return _Known(
            until,
            {row["value"]: held(row) for row in rows if row["kind"] == _HOLDS},
            {(RevocationKind(row["kind"]), row["value"]): row["before"] for row in rows if row["kind"] != _HOLDS},
        )


def _clients(actor: Actor) -> list[str]:
    """The clients of the chain that have a row: public ones have none, and who holds their tokens is a person."""
    return [client_id for client_id in holders(actor) if client_id not in PUBLIC_CLIENTS]


async def ensure_tenant(pool: Pool, tenant_id: str, name: str) -> None:
    """Makes the tenant unless it is there. `pool` belongs to the application's role."""
    async with tenant_transaction(pool, tenant_id) as connection:
        await connection.execute(
            "INSERT INTO tenants (tenant_id, name) VALUES ($1, $2) ON CONFLICT (tenant_id) DO NOTHING", tenant_id, name
        )


async def create_client(
    pool: Pool, tenant_id: str, client_id: str, name: str, scopes: tuple[str, ...] = tuple(Scope)
) -> NewClient | None:
    """Makes a client with a random secret; None when that id is taken, for its secret cannot be told again."""
    secret = secrets.token_urlsafe(32)
    async with tenant_transaction(pool, tenant_id) as connection:
        made = await connection.fetchval(
            "INSERT INTO clients (client_id, tenant_id, name, secret_sha256, scopes) VALUES ($1, $2, $3, $4, $5) "
            "ON CONFLICT (client_id) DO NOTHING RETURNING client_id",
            client_id,
            tenant_id,
            name,
            secret_digest(secret),
            list(map(str, scopes)),
        )
    if made is None:
        return None
    return NewClient(client_id=client_id, tenant_id=tenant_id, secret=secret, scopes=tuple(map(str, scopes)))


async def replace_secret(pool: Pool, tenant_id: str, client_id: str, scopes: tuple[str, ...] = tuple(Scope)) -> NewClient | None:
    """Gives the client a new secret and these scopes; the old secret is void at once. None when there is no such client."""
    secret = secrets.token_urlsafe(32)
    async with tenant_transaction(pool, tenant_id) as connection:
        changed = await connection.fetchval(
            "UPDATE clients SET secret_sha256 = $3, scopes = $4 WHERE tenant_id = $1 AND client_id = $2 RETURNING client_id",
            tenant_id,
            client_id,
            secret_digest(secret),
            list(map(str, scopes)),
        )
    if changed is None:
        return None
    return NewClient(client_id=client_id, tenant_id=tenant_id, secret=secret, scopes=tuple(map(str, scopes)))


async def disable_client(pool: Pool, tenant_id: str, client_id: str) -> bool:
    """Ends a client: no new tokens, and those it holds are refused within a second. False when there is no such client."""
    async with tenant_transaction(pool, tenant_id) as connection:
        changed = await connection.fetchval(
            "UPDATE clients SET disabled_at = coalesce(disabled_at, now()) WHERE tenant_id = $1 AND client_id = $2 "
            "RETURNING client_id",
            tenant_id,
            client_id,
        )
    return changed is not None


def secret_digest(secret: str) -> str:
    """How a secret is kept: lower-case hex of its SHA-256."""
    return hashlib.sha256(secret.encode()).hexdigest()
