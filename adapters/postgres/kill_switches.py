"""Kill switches in Postgres: engaged by one transaction, ended by another, read by those they mean."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from adapters.postgres.connection import Pool, Row, tenant_select, tenant_transaction
from adapters.postgres.outbox import event_of, insert_events
from adapters.postgres.two_key import consume
from domain.base import UtcTime
from domain.errors import NotFound
from domain.event_data.kill_switches import KillSwitchEngaged, KillSwitchReleased
from domain.kill_switches import (
    EnforceCall,
    EngagedSwitch,
    KillSwitchInput,
    KillSwitchState,
    KillSwitchView,
    ReleaseCall,
    release_digest,
)
from domain.names import SYSTEM_TENANT, TwoKeyAction

_INSERT: Final = """
INSERT INTO kill_switches (tenant_id, switch_id, scope, value, target_tenant, reason, engaged_by, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp() + make_interval(secs => $8))
ON CONFLICT (tenant_id, switch_id) DO NOTHING
RETURNING epoch, expires_at
"""
_STATE: Final = """
CASE WHEN released_at IS NOT NULL THEN 'released' WHEN expires_at <= clock_timestamp() THEN 'expired' ELSE 'engaged' END
"""
_SELECT: Final = " ".join(
    (
        "SELECT",
        _STATE,
        """
       AS state, switch_id, scope, value, target_tenant, reason, epoch, engaged_by, engaged_at, expires_at, released_at,
       released_by, stated_at, runs.found AS runs_found, runs.open AS runs_open
FROM kill_switches s CROSS JOIN LATERAL (
    SELECT count(*) AS found, count(*) FILTER (WHERE closed_at IS NULL) AS open
    FROM kill_switch_runs r WHERE r.tenant_id = s.tenant_id AND r.switch_id = s.switch_id
) AS runs
WHERE (s.tenant_id = tenant.tenant_id OR s.tenant_id = 'system')
""",
    )
)
_GET: Final = f"{_SELECT} AND switch_id = $2"
_PAGE: Final = " ".join(
    (
        _SELECT,
        "AND ($2::text IS NULL OR $2 =",
        _STATE,
        """)
AND ($3::text IS NULL OR switch_id < $3) ORDER BY switch_id DESC LIMIT $4
""",
    )
)
_ENGAGED: Final = """
SELECT switch_id, scope, value, target_tenant, engaged_at, expires_at - clock_timestamp() AS left
FROM kill_switches s WHERE s.tenant_id = tenant.tenant_id AND switch_id = $2 AND released_at IS NULL
    AND (expires_at IS NULL OR expires_at > clock_timestamp())
"""
_PENDING: Final = """
SELECT s.tenant_id, switch_id FROM kill_switches s
WHERE tenant.tenant_id IS NOT NULL AND stated_at IS NULL AND released_at IS NULL
    AND (expires_at IS NULL OR expires_at > clock_timestamp())
ORDER BY engaged_at LIMIT $2
"""
_LOCK: Final = "SELECT epoch, released_at FROM kill_switches WHERE tenant_id = $1 AND switch_id = $2 FOR UPDATE"
_RELEASE: Final = """
UPDATE kill_switches SET released_at = clock_timestamp(), released_by = $3 WHERE tenant_id = $1 AND switch_id = $2
"""
_ENVELOPE: Final = "SELECT statement FROM kill_switches s WHERE s.tenant_id = tenant.tenant_id AND switch_id = $2"
_SWITCH: Final = set(EngagedSwitch.model_fields)


class PostgresKillSwitches:
    """Engaging, and KillSwitchReads. Every method raises DependencyUnavailable."""

    def __init__(self, pool: Pool) -> None:
        """`pool` connects as the application's role."""
        self._pool = pool

    async def engage(self, switch: KillSwitchInput) -> None:
        """Stops from the commit on, with `kill_switch.engaged`; the first writer wins."""
        tenant_id = switch.actor.tenant_id
        async with tenant_transaction(self._pool, tenant_id) as connection:
            row = await connection.fetchrow(
                _INSERT,
                tenant_id,
                switch.switch_id,
                switch.scope.value,
                switch.value,
                switch.target_tenant,
                switch.reason,
                switch.actor.subject,
                switch.lifetime_seconds,
            )
            if row is not None:
                told = KillSwitchEngaged(
                    switch_id=switch.switch_id,
                    scope=switch.scope,
                    value=switch.value,
                    target_tenant=switch.target_tenant,
                    epoch=row["epoch"],
                    subject=switch.actor.subject,
                    expires_at=row["expires_at"],
                )
                await insert_events(connection, tenant_id, (event_of(told),))

    async def engaged(self, call: EnforceCall) -> tuple[EngagedSwitch, UtcTime, timedelta | None] | None:
        """The switch, when it was engaged, and how long it still counts; None once it has ended."""
        rows = await tenant_select(self._pool, call.tenant_id, _ENGAGED, call.switch_id)
        return (_switch(rows[0]), rows[0]["engaged_at"], rows[0]["left"]) if rows else None

    async def pending(self, limit: int) -> tuple[EnforceCall, ...]:
        """Of all tenants, the oldest first."""
        rows = await tenant_select(self._pool, SYSTEM_TENANT, _PENDING, limit)
        return tuple(EnforceCall(tenant_id=row["tenant_id"], switch_id=row["switch_id"]) for row in rows)

    async def get(self, tenant_id: str, switch_id: str) -> KillSwitchView:
        """One switch. Raises NotFound."""
        rows = await tenant_select(self._pool, tenant_id, _GET, switch_id)
        if not rows:
            raise unknown()
        return _view(rows[0])

    async def page(
        self, tenant_id: str, state: KillSwitchState | None, after: str | None, limit: int
    ) -> tuple[KillSwitchView, ...]:
        """Newest first, from after that id on."""
        rows = await tenant_select(self._pool, tenant_id, _PAGE, state.value if state else None, after, limit)
        return tuple(map(_view, rows))

    async def envelope(self, tenant_id: str, switch_id: str) -> dict[str, Any]:
        """The signed statement. Raises NotFound."""
        rows = await tenant_select(self._pool, tenant_id, _ENVELOPE, switch_id)
        if not rows:
            raise unknown()
        if rows[0]["statement"] is None:
            raise NotFound("The switch has no statement yet; it comes once everything it means is quiet.")
        return rows[0]["statement"]

    async def release(self, release: ReleaseCall) -> None:
        """Ends the switch, with `kill_switch.released`; two people's approval is used up with it. Raises Forbidden, NotFound;
        again is harmless."""
        tenant_id, switch_id = release.actor.tenant_id, release.switch_id
        async with tenant_transaction(self._pool, tenant_id) as connection:
            row = await connection.fetchrow(_LOCK, tenant_id, switch_id)
            if row is None:
                raise unknown()
            if row["released_at"] is not None:
                return
            digest = release_digest(switch_id, row["epoch"])
            approvers = await consume(connection, tenant_id, TwoKeyAction.KILLSWITCH_RELEASE, switch_id, digest)
            await connection.execute(_RELEASE, tenant_id, switch_id, list(approvers))
            told = KillSwitchReleased(switch_id=switch_id, released_by=approvers)
            await insert_events(connection, tenant_id, (event_of(told),))


def unknown() -> NotFound:
    """The error of a switch that is not there."""
    return NotFound("No kill switch has that id.")


def _switch(row: Row) -> EngagedSwitch:
    return EngagedSwitch.model_validate({name: row[name] for name in _SWITCH})


def _view(row: Row) -> KillSwitchView:
    known = {name: row[name] for name in KillSwitchView.model_fields if name != "release_digest"}
    return KillSwitchView(**known, release_digest=release_digest(row["switch_id"], row["epoch"]))
