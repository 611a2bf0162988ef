"""Clients in Postgres as the API keeps them. Who may have a token by them is `identity.py`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from adapters.postgres.blobs import stored_bytes
from adapters.postgres.capabilities import held, locked_roles
from adapters.postgres.changes import check_version, tell_change, was_made
from adapters.postgres.connection import Connection, Pool, Row, tenant_select, tenant_transaction
from adapters.postgres.outbox import event_of, insert_events
from adapters.postgres.roles import check_known
from domain.actors import Actor
from domain.clients import (
    ClientChangeInput,
    ClientDisablingInput,
    ClientInput,
    ClientOutcome,
    ClientRotationInput,
    ClientView,
)
from domain.errors import Conflict, NotFound
from domain.event_data.identity import ClientChanged, ClientCreated, ClientDisabled, ClientRotated
from domain.grants import check_grant
from domain.roles import built_in_capabilities

_CREATE: Final = """
INSERT INTO clients (tenant_id, client_id, name, secret_sha256, scopes, roles, created_by)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (client_id) DO NOTHING RETURNING secret_sha256
"""
_KEPT: Final = "SELECT secret_sha256 FROM clients WHERE tenant_id = $1 AND client_id = $2"
_LOCK: Final = """
SELECT name, scopes, roles, secret_sha256, version, disabled_at FROM clients WHERE tenant_id = $1 AND client_id = $2 FOR UPDATE
"""
_CHANGE: Final = """
UPDATE clients SET name = $3, scopes = $4, roles = $5, version = version + 1, updated_at = now()
WHERE tenant_id = $1 AND client_id = $2
"""
_ROTATE: Final = """
UPDATE clients SET secret_sha256 = $3, version = version + 1, updated_at = now(),
    former_secret_sha256 = CASE WHEN $4::integer > 0 THEN secret_sha256 END,
    former_secret_until = CASE WHEN $4::integer > 0 THEN now() + make_interval(secs => $4::integer) END
WHERE tenant_id = $1 AND client_id = $2 RETURNING former_secret_until, version
"""
_DISABLE: Final = """
UPDATE clients SET disabled_at = now(), version = version + 1, updated_at = now(),
    former_secret_sha256 = NULL, former_secret_until = NULL
WHERE tenant_id = $1 AND client_id = $2
"""
_SELECT: Final = """
SELECT client_id, name, scopes, roles, disabled_at IS NOT NULL AS disabled, disabled_at,
       version, created_by, created_at, updated_at,
       CASE WHEN former_secret_until > now() THEN former_secret_until END AS former_secret_until,
       ARRAY(SELECT unnest(r.capabilities) FROM roles r WHERE r.tenant_id = c.tenant_id AND r.name = ANY (c.roles)) AS of_roles
FROM clients c WHERE tenant_id = tenant.tenant_id
"""
_GET: Final = f"{_SELECT} AND client_id = $2"
_PAGE: Final = f"""
{_SELECT} AND ($2::boolean IS NULL OR (disabled_at IS NOT NULL) = $2) AND ($3::text IS NULL OR client_id < $3)
ORDER BY client_id DESC LIMIT $4
"""


class PostgresClients:
    """ClientStore and ClientReads over the table `clients`. Every method raises DependencyUnavailable."""

    def __init__(self, pool: Pool) -> None:
        """`pool` connects as the application's role."""
        self._pool = pool

    async def create(self, client: ClientInput) -> ClientOutcome:
        """Adds the client and `client.created`. Raises InsufficientScope, Unprocessable, NotFound for a lost name."""
        actor, tenant_id = client.actor, client.actor.tenant_id
        async with tenant_transaction(self._pool, tenant_id) as connection:
            name = (await stored_bytes(connection, tenant_id, client.name.sha256)).decode()
            check_grant(actor, await _opened(connection, tenant_id, client.scopes, client.roles))
            lists = (list(client.scopes), list(client.roles))
            made = await connection.fetchval(_CREATE, tenant_id, client.client_id, name, client.digest, *lists, actor.subject)
            if made is None:
                return ClientOutcome(digest=await connection.fetchval(_KEPT, tenant_id, client.client_id))
            told = ClientCreated(client_id=client.client_id, subject=actor.subject, scopes=client.scopes, roles=client.roles)
            await insert_events(connection, tenant_id, (event_of(told),))
        return ClientOutcome(digest=client.digest)

    async def change(self, change: ClientChangeInput) -> None:
        """Changes the client, with `client.changed`. Raises NotFound, Conflict, PreconditionFailed, InsufficientScope,
        Unprocessable."""
        actor, tenant_id = change.actor, change.actor.tenant_id
        async with tenant_transaction(self._pool, tenant_id) as connection:
            row = await _locked(connection, tenant_id, change.client_id)
            if await was_made(connection, tenant_id, change.change_id):
                return
            _check_enabled(row)
            check_version(row["version"], change.expected)
            scopes = row["scopes"] if change.scopes is None else list(change.scopes)
            roles = row["roles"] if change.roles is None else list(change.roles)
            if change.scopes is not None or change.roles is not None:
                await _check_over(connection, actor, row)
                check_grant(actor, await _opened(connection, tenant_id, scopes, roles))
            name: str = row["name"]
            if change.name is not None:
                name = (await stored_bytes(connection, tenant_id, change.name.sha256)).decode()
            await connection.execute(_CHANGE, tenant_id, change.client_id, name, scopes, roles)
            told = ClientChanged(
                client_id=change.client_id,
                subject=actor.subject,
                scopes=tuple(scopes),
                roles=tuple(roles),
                version=row["version"] + 1,
            )
            await tell_change(connection, tenant_id, change.change_id, told)

    async def rotate(self, rotation: ClientRotationInput) -> ClientOutcome:
        """Gives the client another secret, with `client.rotated`. Raises NotFound, Conflict, and InsufficientScope: whoever
        learns a client's secret may do what the client may."""
        actor, tenant_id = rotation.actor, rotation.actor.tenant_id
        async with tenant_transaction(self._pool, tenant_id) as connection:
            row = await _locked(connection, tenant_id, rotation.client_id)
            if await was_made(connection, tenant_id, rotation.change_id):
                return ClientOutcome(digest=row["secret_sha256"])
            _check_enabled(row)
            await _check_over(connection, actor, row)
            values = (rotation.client_id, rotation.digest, rotation.overlap_seconds)
            (changed,) = await connection.fetch(_ROTATE, tenant_id, *values)
            told = ClientRotated(
                client_id=rotation.client_id,
                subject=actor.subject,
                former_until=changed["former_secret_until"],
                version=changed["version"],
            )
            await tell_change(connection, tenant_id, rotation.change_id, told)
        return ClientOutcome(digest=rotation.digest)

    async def disable(self, disabling: ClientDisablingInput) -> None:
        """Ends the client, with `client.disabled`. Raises NotFound; again is harmless."""
        tenant_id = disabling.actor.tenant_id
        async with tenant_transaction(self._pool, tenant_id) as connection:
            row = await _locked(connection, tenant_id, disabling.client_id)
            if row["disabled_at"] is not None:
                return
            await connection.execute(_DISABLE, tenant_id, disabling.client_id)
            told = ClientDisabled(client_id=disabling.client_id, subject=disabling.actor.subject)
            await insert_events(connection, tenant_id, (event_of(told),))

    async def get(self, tenant_id: str, client_id: str) -> ClientView:
        """One client. Raises NotFound."""
        rows = await tenant_select(self._pool, tenant_id, _GET, client_id)
        if not rows:
            raise _unknown()
        return _view(rows[0])

    async def page(self, tenant_id: str, *, disabled: bool | None, after: str | None, limit: int) -> tuple[ClientView, ...]:
        """By id from the last, from after that id on."""
        return tuple(_view(row) for row in await tenant_select(self._pool, tenant_id, _PAGE, disabled, after, limit))


async def _locked(connection: Connection, tenant_id: str, client_id: str) -> Row:
    row = await connection.fetchrow(_LOCK, tenant_id, client_id)
    if row is None:
        raise _unknown()
    return row


async def _opened(connection: Connection, tenant_id: str, scopes: Iterable[str], roles: Iterable[str]) -> tuple[str, ...]:
    """What scopes and roles open together; the roles stay so until the transaction ends. Raises Unprocessable."""
    named = list(roles)
    own = await locked_roles(connection, tenant_id, named)
    check_known(named, own)
    return tuple(sorted({*scopes, *built_in_capabilities(named)}.union(*own.values())))


async def _check_over(connection: Connection, actor: Actor, row: Row) -> None:
    """Raises InsufficientScope for a client that may do what the actor may not: nobody takes over such a one."""
    own = await locked_roles(connection, actor.tenant_id, row["roles"])
    check_grant(actor, sorted({*row["scopes"], *built_in_capabilities(row["roles"])}.union(*own.values())))


def _check_enabled(row: Row) -> None:
    if row["disabled_at"] is not None:
        raise Conflict("The client is disabled, which is for good; make another one.")


def _view(row: Row) -> ClientView:
    names = ClientView.model_fields.keys() - {"capabilities"}
    return ClientView.model_validate({name: row[name] for name in names} | {"capabilities": tuple(sorted(held(row)))})


def _unknown() -> NotFound:
    return NotFound("No client has that id.")
