"""A tenant's own roles in Postgres: rows written with their events, and what roles open."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from adapters.postgres.changes import check_version, tell_change, was_made
from adapters.postgres.connection import Pool, Row, tenant_select, tenant_transaction
from adapters.postgres.outbox import event_of, insert_events
from domain.errors import Conflict, NotFound, Unprocessable
from domain.event_data.identity import RoleCreated, RoleDeleted, RoleReplaced
from domain.grants import check_grant
from domain.roles import (
    BUILT_IN_ROLES,
    BUILT_IN_SKELETONS,
    RoleDeletionInput,
    RoleInput,
    RoleReplacementInput,
    RoleView,
    built_in_capabilities,
    built_in_views,
    skeleton,
)

_CREATE: Final = """
INSERT INTO roles (tenant_id, role_id, name, skeleton, capabilities, created_by) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING RETURNING role_id
"""
_OURS: Final = "SELECT true FROM roles WHERE tenant_id = $1 AND role_id = $2"
_LOCK: Final = "SELECT name, version FROM roles WHERE tenant_id = $1 AND role_id = $2 FOR UPDATE"
_REPLACE: Final = """
UPDATE roles SET capabilities = $3, version = version + 1, updated_at = now() WHERE tenant_id = $1 AND role_id = $2
"""
_HELD: Final = """
SELECT 'client ' || client_id FROM clients WHERE tenant_id = $1 AND $2 = ANY (roles) AND disabled_at IS NULL
UNION ALL SELECT 'user ' || user_id FROM users WHERE tenant_id = $1 AND $2 = ANY (roles) AND deleted_at IS NULL
LIMIT 1
"""
_DELETE: Final = "DELETE FROM roles WHERE tenant_id = $1 AND role_id = $2"
_SELECT: Final = """
SELECT name, role_id, false AS built_in, capabilities, version, created_by, created_at, updated_at
FROM roles WHERE tenant_id = tenant.tenant_id
"""
_GET: Final = f"{_SELECT} AND name = $2"
_PAGE: Final = f'{_SELECT} AND ($2::text IS NULL OR name > $2 COLLATE "C") ORDER BY name COLLATE "C" LIMIT $3'
_NAMED: Final = f"{_SELECT} AND name = ANY ($2::text[])"


class PostgresRoles:
    """RoleStore and RoleReads over the table `roles`. Every method raises DependencyUnavailable."""

    def __init__(self, pool: Pool) -> None:
        """`pool` connects as the application's role."""
        self._pool = pool

    async def create(self, role: RoleInput) -> None:
        """Adds the role and `role.created`; the first writer wins. Raises Conflict, InsufficientScope."""
        actor = role.actor
        check_grant(actor, role.capabilities)
        looks = skeleton(role.name)
        values = (role.role_id, role.name, looks, list(role.capabilities), actor.subject)
        async with tenant_transaction(self._pool, actor.tenant_id) as connection:
            made = None
            if looks not in BUILT_IN_SKELETONS:
                made = await connection.fetchval(_CREATE, actor.tenant_id, *values)
            if made is not None:
                told = RoleCreated(role_id=role.role_id, name=role.name, subject=actor.subject, capabilities=role.capabilities)
                await insert_events(connection, actor.tenant_id, (event_of(told),))
            elif not await connection.fetchval(_OURS, actor.tenant_id, role.role_id):
                raise Conflict("A role has that name, or one that looks like it; choose another.")

    async def replace(self, change: RoleReplacementInput) -> None:
        """Changes what the role opens, with `role.replaced`. Raises NotFound, PreconditionFailed, InsufficientScope."""
        tenant_id, actor = change.actor.tenant_id, change.actor
        check_grant(actor, change.capabilities)
        async with tenant_transaction(self._pool, tenant_id) as connection:
            row = await connection.fetchrow(_LOCK, tenant_id, change.role_id)
            if row is None:
                raise _unknown()
            if await was_made(connection, tenant_id, change.change_id):
                return
            check_version(row["version"], change.expected)
            await connection.execute(_REPLACE, tenant_id, change.role_id, list(change.capabilities))
            told = RoleReplaced(
                role_id=change.role_id,
                name=row["name"],
                subject=actor.subject,
                capabilities=change.capabilities,
                version=row["version"] + 1,
            )
            await tell_change(connection, tenant_id, change.change_id, told)

    async def delete(self, deletion: RoleDeletionInput) -> None:
        """Removes the role, with `role.deleted`. Raises Conflict while a client has it; again is harmless.

        The row is locked first: who gives the role locks it too, so that it is not given while it goes.
        """
        tenant_id = deletion.actor.tenant_id
        async with tenant_transaction(self._pool, tenant_id) as connection:
            row = await connection.fetchrow(_LOCK, tenant_id, deletion.role_id)
            if row is None:
                return
            if (holder := await connection.fetchval(_HELD, tenant_id, row["name"])) is not None:
                raise Conflict(f"The {holder} has this role; take it away first.")
            await connection.execute(_DELETE, tenant_id, deletion.role_id)
            told = RoleDeleted(role_id=deletion.role_id, name=row["name"], subject=deletion.actor.subject)
            await insert_events(connection, tenant_id, (event_of(told),))

    async def get(self, tenant_id: str, name: str) -> RoleView:
        """One role. Raises NotFound."""
        for role in built_in_views():
            if role.name == name:
                return role
        rows = await tenant_select(self._pool, tenant_id, _GET, name)
        if not rows:
            raise _unknown()
        return _view(rows[0])

    async def page(self, tenant_id: str, *, built_in: bool | None, after: str | None, limit: int) -> tuple[RoleView, ...]:
        """By name, from after that name on."""
        found: list[RoleView] = []
        if built_in is not True:
            found += [_view(row) for row in await tenant_select(self._pool, tenant_id, _PAGE, after, limit)]
        if built_in is not False:
            found += [role for role in built_in_views() if after is None or role.name > after]
        return tuple(sorted(found, key=lambda role: role.name)[:limit])

    async def scopes_of(self, tenant_id: str, names: Iterable[str]) -> frozenset[str]:
        """The capabilities of all these roles together. Raises Unprocessable for a name that is no role of the tenant."""
        wanted = tuple(names)
        opened = await self.opened(tenant_id, wanted)
        check_known(wanted, opened)
        return frozenset(capability for capabilities in opened.values() for capability in capabilities)

    async def opened(self, tenant_id: str, roles: tuple[str, ...]) -> dict[str, frozenset[str]]:
        """The capabilities of each of these roles that exists."""
        own = sorted(set(roles) - BUILT_IN_ROLES.keys())
        rows = await tenant_select(self._pool, tenant_id, _NAMED, own) if own else ()
        known = {row["name"]: frozenset(row["capabilities"]) for row in rows}
        return known | {role: built_in_capabilities((role,)) for role in roles if role in BUILT_IN_ROLES}


def check_known(wanted: Iterable[str], own: Iterable[str]) -> None:
    """Raises Unprocessable for a name that is neither built in nor one of the tenant's own roles."""
    known = {*own, *BUILT_IN_ROLES}
    for name in sorted(wanted):
        if name not in known:
            raise Unprocessable(f"There is no role {name}; GET /v1/roles lists what there is.")


def _view(row: Row) -> RoleView:
    return RoleView.model_validate({name: row[name] for name in RoleView.model_fields})


def _unknown() -> NotFound:
    return NotFound("No role has that name.")
