"""Tenants in Postgres. The platform reads them all; each is written as that tenant, whose events tell of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from adapters.postgres.blobs import stored_bytes
from adapters.postgres.changes import check_version, tell_change, was_made
from adapters.postgres.connection import Pool, Row, tenant_select, tenant_transaction
from adapters.postgres.outbox import event_of, insert_events
from domain.blobs import BlobRef
from domain.errors import Conflict, NotFound
from domain.event_data.identity import TenantChanged, TenantCreated, TenantDeleted
from domain.names import SYSTEM_TENANT
from domain.tenants import (
    TenantChangeInput,
    TenantDeletionInput,
    TenantInput,
    TenantLimits,
    TenantOutcome,
    TenantTerms,
    TenantView,
)

FIRST_ROLE: Final = "admin"
_FIRST_NAME: Final = "admin"
_MAX_REMEMBERED: Final = 10_000

_CREATE: Final = """
INSERT INTO tenants (tenant_id, name, plan, requests_per_minute, regions) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (tenant_id) DO NOTHING RETURNING tenant_id
"""
_FIRST: Final = """
INSERT INTO clients (tenant_id, client_id, name, secret_sha256, scopes, roles, created_by) VALUES ($1, $2, $3, $4, '{}', $5, $6)
"""
_OURS: Final = "SELECT secret_sha256 FROM clients WHERE tenant_id = $1 AND client_id = $2"
_COLUMNS: Final = "tenant_id, name, plan, requests_per_minute, regions, version, created_at, updated_at, deleted_at"
_LOCK: Final = " ".join(("SELECT", _COLUMNS, "FROM tenants WHERE tenant_id = $1 FOR UPDATE"))
_CHANGE: Final = """
UPDATE tenants SET name = $2, plan = $3, requests_per_minute = $4, regions = $5, version = version + 1, updated_at = now()
WHERE tenant_id = $1
"""
_DELETE: Final = """
UPDATE tenants SET deleted_at = now(), version = version + 1, updated_at = now() WHERE tenant_id = $1
"""
_GET: Final = " ".join(("SELECT", _COLUMNS, "FROM tenants WHERE tenant_id = tenant.tenant_id"))
# The platform's tenant is compared with, so that the rows are looked at once the tenant of the transaction is set.
_PAGE: Final = " ".join(
    (
        *("SELECT", _COLUMNS, "FROM tenants t WHERE tenant.tenant_id = 'system'"),
        'AND ($2::boolean IS NULL OR (deleted_at IS NOT NULL) = $2) AND ($3::text IS NULL OR t.tenant_id > $3 COLLATE "C")',
        'ORDER BY t.tenant_id COLLATE "C" LIMIT $4',
    )
)


class PostgresTenants:
    """TenantStore and TenantReads over the table `tenants`. Every method raises DependencyUnavailable."""

    def __init__(self, pool: Pool) -> None:
        """`pool` connects as the application's role."""
        self._pool = pool

    async def create(self, tenant: TenantInput) -> TenantOutcome:
        """Adds the tenant and its first client, with `tenant.created`. Raises Conflict."""
        name, limits = await self._text(tenant.name), tenant.limits
        values = (name, tenant.plan, limits.requests_per_minute, list(tenant.residency))
        first = (tenant.client_id, _FIRST_NAME, tenant.digest, [FIRST_ROLE], tenant.actor.subject)
        async with tenant_transaction(self._pool, tenant.tenant_id) as connection:
            if await connection.fetchval(_CREATE, tenant.tenant_id, *values) is None:
                kept: str | None = await connection.fetchval(_OURS, tenant.tenant_id, tenant.client_id)
                if kept is None:
                    raise Conflict("A tenant has or had that id; choose another.")
                return TenantOutcome(digest=kept)
            await connection.execute(_FIRST, tenant.tenant_id, *first)
            told = TenantCreated(
                tenant_id=tenant.tenant_id, subject=tenant.actor.subject, plan=tenant.plan, client_id=tenant.client_id
            )
            await insert_events(connection, tenant.tenant_id, (event_of(told),))
        return TenantOutcome(digest=tenant.digest)

    async def change(self, change: TenantChangeInput) -> None:
        """Changes the tenant, with `tenant.changed`. Raises NotFound, Conflict, PreconditionFailed."""
        tenant_id = change.tenant_id
        new_name = await self._text(change.name) if change.name is not None else None
        async with tenant_transaction(self._pool, tenant_id) as connection:
            row = await connection.fetchrow(_LOCK, tenant_id)
            if row is None:
                raise unknown_tenant()
            if await was_made(connection, tenant_id, change.change_id):
                return
            before = _view(row)
            if before.deleted_at is not None:
                raise Conflict("The tenant is deleted, which is for good.")
            check_version(before.version, change.expected)
            limits = before.limits if change.limits is None else change.limits
            residency = before.residency if change.residency is None else change.residency
            plan = change.plan or before.plan
            values = (new_name or before.name, plan, limits.requests_per_minute, list(residency))
            await connection.execute(_CHANGE, tenant_id, *values)
            told = TenantChanged(
                tenant_id=tenant_id,
                subject=change.actor.subject,
                plan=plan,
                requests_per_minute=limits.requests_per_minute,
                residency=residency,
                version=before.version + 1,
            )
            await tell_change(connection, tenant_id, change.change_id, told)

    async def delete(self, deletion: TenantDeletionInput) -> None:
        """Ends the tenant, with `tenant.deleted`. Raises NotFound; again is harmless."""
        tenant_id = deletion.tenant_id
        async with tenant_transaction(self._pool, tenant_id) as connection:
            row = await connection.fetchrow(_LOCK, tenant_id)
            if row is None:
                raise unknown_tenant()
            if row["deleted_at"] is not None:
                return
            await connection.execute(_DELETE, tenant_id)
            told = TenantDeleted(tenant_id=tenant_id, subject=deletion.actor.subject)
            await insert_events(connection, tenant_id, (event_of(told),))

    async def get(self, tenant_id: str) -> TenantView:
        """One tenant. Raises NotFound."""
        rows = await tenant_select(self._pool, tenant_id, _GET)
        if not rows:
            raise unknown_tenant()
        return _view(rows[0])

    async def page(self, *, deleted: bool | None, after: str | None, limit: int) -> tuple[TenantView, ...]:
        """By id, from after that id on."""
        rows = await tenant_select(self._pool, SYSTEM_TENANT, _PAGE, deleted, after, limit)
        return tuple(_view(row) for row in rows)

    async def _text(self, reference: BlobRef) -> str:
        """The text of a blob of the platform's."""
        async with tenant_transaction(self._pool, SYSTEM_TENANT) as connection:
            return (await stored_bytes(connection, SYSTEM_TENANT, reference.sha256)).decode()


class PostgresTenantDirectory:
    """Implements `TenantDirectory`. An answer is remembered for a second at most."""

    def __init__(self, pool: Pool, memory_seconds: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        """`pool` belongs to the application's role; `memory_seconds` 0 asks every time."""
        self._pool, self._memory, self._clock = pool, memory_seconds, clock
        self._known: dict[str, tuple[float, TenantTerms]] = {}

    async def terms(self, tenant_id: str) -> TenantTerms:
        """The tenant's terms. Raises DependencyUnavailable."""
        known = self._known.get(tenant_id)
        if known is None or known[0] <= self._clock():
            # The time before asking: what is true now may have changed when the answer arrives.
            until = self._clock() + self._memory
            rows = await tenant_select(self._pool, tenant_id, _GET)
            known = (until, _terms(rows[0]) if rows else TenantTerms())
            if len(self._known) >= _MAX_REMEMBERED:
                self._known.clear()
            self._known[tenant_id] = known
        return known[1]


def unknown_tenant() -> NotFound:
    """The same for one that is not there and for one that is nobody's business."""
    return NotFound("No tenant has that id.")


def _terms(row: Row) -> TenantTerms:
    return TenantTerms(requests_per_minute=row["requests_per_minute"], residency=tuple(row["regions"]))


def _view(row: Row) -> TenantView:
    names = ("tenant_id", "name", "plan", "version", "created_at", "updated_at", "deleted_at")
    limits = TenantLimits(requests_per_minute=row["requests_per_minute"])
    return TenantView(**{name: row[name] for name in names}, limits=limits, residency=tuple(row["regions"]))
