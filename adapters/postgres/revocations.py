"""Revocations in Postgres: rows written with their events. `PostgresStanding` is who goes by them."""

from __future__ import annotations

from typing import Final

from adapters.postgres.blobs import stored_bytes
from adapters.postgres.connection import Pool, Row, tenant_select, tenant_transaction
from adapters.postgres.outbox import event_of, insert_events
from domain.errors import NotFound
from domain.event_data.credentials import RevocationCreated
from domain.revocations import RevocationInput, RevocationKind, RevocationView

_INSERT: Final = """
INSERT INTO revocations (tenant_id, revocation_id, kind, value, before, reason, revoked_by)
VALUES ($1, $2, $3, $4, clock_timestamp(), $5, $6)
ON CONFLICT (tenant_id, revocation_id) DO NOTHING
RETURNING before
"""
_SELECT: Final = """
SELECT revocation_id, kind, value, before, reason, revoked_by, revoked_at FROM revocations WHERE tenant_id = tenant.tenant_id
"""
_GET: Final = f"{_SELECT} AND revocation_id = $2"
_PAGE: Final = f"""{_SELECT} AND ($2::text IS NULL OR kind = $2) AND ($3::text IS NULL OR revocation_id < $3)
ORDER BY revocation_id DESC LIMIT $4
"""


class PostgresRevocations:
    """RevocationStore and RevocationReads over the table `revocations`. Every method raises DependencyUnavailable."""

    def __init__(self, pool: Pool) -> None:
        """`pool` connects as the application's role."""
        self._pool = pool

    async def revoke(self, revocation: RevocationInput) -> None:
        """Adds the revocation and `revocation.created`; the first writer wins."""
        actor, reason = revocation.actor, None
        async with tenant_transaction(self._pool, actor.tenant_id) as connection:
            if revocation.reason is not None:
                reason = (await stored_bytes(connection, actor.tenant_id, revocation.reason.sha256)).decode()
            values = (revocation.revocation_id, revocation.kind.value, revocation.value, reason, actor.subject)
            before = await connection.fetchval(_INSERT, actor.tenant_id, *values)
            if before is not None:
                told = RevocationCreated(
                    revocation_id=revocation.revocation_id,
                    kind=revocation.kind,
                    value=revocation.value,
                    before=before,
                    subject=actor.subject,
                )
                await insert_events(connection, actor.tenant_id, (event_of(told),))

    async def get(self, tenant_id: str, revocation_id: str) -> RevocationView:
        """One revocation. Raises NotFound."""
        rows = await tenant_select(self._pool, tenant_id, _GET, revocation_id)
        if not rows:
            raise NotFound("No revocation has that id.")
        return _view(rows[0])

    async def page(
        self, tenant_id: str, kind: RevocationKind | None, after: str | None, limit: int
    ) -> tuple[RevocationView, ...]:
        """Newest first, from after that id on."""
        rows = await tenant_select(self._pool, tenant_id, _PAGE, kind.value if kind else None, after, limit)
        return tuple(_view(row) for row in rows)


def _view(row: Row) -> RevocationView:
    return RevocationView.model_validate({name: row[name] for name in RevocationView.model_fields})
