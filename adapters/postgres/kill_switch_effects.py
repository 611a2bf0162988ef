"""What a kill switch stopped: the runs it cancelled, the effects that were in flight, and the statement about both."""

from __future__ import annotations

from typing import Any, Final

from adapters.postgres.calls import lose
from adapters.postgres.connection import Connection, Pool, tenant_select, tenant_transaction
from adapters.postgres.kill_switches import PostgresKillSwitches, unknown
from adapters.postgres.lost_calls import locked_call
from adapters.postgres.outbox import event_of, insert_events
from domain.event_data.kill_switches import KillSwitchStated
from domain.kill_switches import (
    LEASE_SECONDS,
    EnforceCall,
    EngagedSwitch,
    KillSwitchStatement,
    RunRef,
    StoppedEffect,
    StoppedRun,
)

LISTED_AT_MOST: Final = 10_000
"""Runs and effects that a statement names; it counts them all."""
# The calls that a switch means and that had not ended when it was engaged, or began later. What was refused before it was sent
# is none.
_OF_EFFECTS: Final = """
FROM (SELECT c.tenant_id, c.workflow_id, c.step_key, c.attempt, c.provider, c.model, c.outcome, c.settlement, c.ended_at,
       c.error_type, s.engaged_at,
       c.started_at AS reserved_at, c.started_at + make_interval(secs => c.sent_ms / 1000.0) AS sent_at
FROM kill_switches s JOIN slm_calls c ON c.started_at > s.engaged_at - interval '2 hours'
    AND (s.target_tenant IS NULL OR c.tenant_id = s.target_tenant)
    AND CASE s.scope WHEN 'all' THEN true WHEN 'tenant' THEN true WHEN 'region' THEN c.region = s.value
        WHEN 'user' THEN c.subject = s.value WHEN 'provider' THEN c.provider = s.value
        WHEN 'feature' THEN split_part(c.workflow_id, '/', 1) = s.value ELSE false END
WHERE s.tenant_id = tenant.tenant_id AND s.switch_id = $2 AND (c.ended_at IS NULL OR c.ended_at > s.engaged_at)
    AND (c.error_type IS NULL OR c.error_type NOT IN ('kill-switch-engaged', 'kill-switch-unreadable'))
) AS effects
"""
_OPEN: Final = " ".join(("SELECT count(*) AS number", _OF_EFFECTS, "WHERE ended_at IS NULL"))
_OPEN_ATTEMPTS: Final = " ".join(
    ("SELECT tenant_id, workflow_id, step_key, attempt", _OF_EFFECTS, "WHERE ended_at IS NULL LIMIT 1000")
)
_SUMS: Final = " ".join(
    (
        """
SELECT count(*) AS found, count(*) FILTER (WHERE settlement = 'unknown') AS unknown,
       count(*) FILTER (WHERE sent_at IS NULL) AS unrecorded,
       coalesce(max(sent_at - engaged_at) FILTER (WHERE sent_at > engaged_at), interval '0') AS silence,
       coalesce(max(ended_at - engaged_at), interval '0') AS stillness
""",
        _OF_EFFECTS,
    )
)
_LISTED: Final = " ".join(("SELECT *", _OF_EFFECTS, "ORDER BY reserved_at, workflow_id, step_key, attempt LIMIT $3"))
_SWITCH: Final = """
SELECT switch_id, scope, value, target_tenant, epoch, engaged_by, engaged_at, schedules, clock_timestamp() AS stated_at,
       (SELECT count(*) FROM kill_switch_runs r WHERE r.tenant_id = s.tenant_id AND r.switch_id = s.switch_id) AS runs_found
FROM kill_switches s WHERE s.tenant_id = tenant.tenant_id AND switch_id = $2
"""
_RUNS: Final = """
SELECT workflow_id, run_id, cancelled_at, closed_at FROM kill_switch_runs r
WHERE r.tenant_id = tenant.tenant_id AND switch_id = $2 ORDER BY cancelled_at, workflow_id LIMIT $3
"""
_FOUND: Final = """
INSERT INTO kill_switch_runs (tenant_id, switch_id, workflow_id, run_id)
SELECT $1, $2, workflow_id, run_id FROM unnest($3::text[], $4::text[]) AS found (workflow_id, run_id)
ON CONFLICT DO NOTHING
"""
_CLOSED: Final = """
UPDATE kill_switch_runs SET closed_at = clock_timestamp()
WHERE tenant_id = $1 AND switch_id = $2 AND closed_at IS NULL AND run_id <> ALL ($3::text[])
"""
_PAUSED: Final = """
UPDATE kill_switches SET schedules = ARRAY(SELECT DISTINCT unnest(schedules || $3::text[]) ORDER BY 1)
WHERE tenant_id = $1 AND switch_id = $2 RETURNING schedules
"""
_STATED: Final = """
UPDATE kill_switches SET statement = $3, stated_at = $4 WHERE tenant_id = $1 AND switch_id = $2 AND stated_at IS NULL
RETURNING switch_id
"""
_OF_USER: Final = """
SELECT workflow_id, run_id, 'session' AS feature FROM sessions
WHERE tenant_id = tenant.tenant_id AND subject = $2 AND closed_at IS NULL
UNION ALL
SELECT workflow_id, run_id, 'slm' FROM slm_requests
WHERE tenant_id = tenant.tenant_id AND subject = $2 AND completed_at IS NULL
"""


class PostgresStoppedWork(PostgresKillSwitches):
    """Implements `KillSwitchStore`."""

    def __init__(self, pool: Pool) -> None:
        """`pool` connects as the application's role; as the tenant `system` it sees every tenant's calls."""
        super().__init__(pool)
        self._pool = pool

    async def runs_of_user(self, switch: EngagedSwitch) -> tuple[RunRef, ...]:
        """Open runs in the subject's own name, from their rows. The run id is that of the first run."""
        if switch.target_tenant is None:
            return ()
        rows = await tenant_select(self._pool, switch.target_tenant, _OF_USER, switch.value)
        return tuple(
            RunRef(tenant_id=switch.target_tenant, **{name: row[name] for name in ("workflow_id", "run_id", "feature")})
            for row in rows
        )

    async def found(self, call: EnforceCall, runs: tuple[RunRef, ...]) -> None:
        """Keeps which runs were cancelled; those kept before and not among these have closed."""
        names = [run.workflow_id for run in runs], [run.run_id for run in runs]
        async with tenant_transaction(self._pool, call.tenant_id) as connection:
            await connection.execute(_FOUND, call.tenant_id, call.switch_id, *names)
            await connection.execute(_CLOSED, call.tenant_id, call.switch_id, names[1])

    async def paused(self, call: EnforceCall, schedules: tuple[str, ...]) -> tuple[str, ...]:
        """Keeps which schedules were paused; all of them so far. Raises NotFound."""
        async with tenant_transaction(self._pool, call.tenant_id) as connection:
            kept = await connection.fetchval(_PAUSED, call.tenant_id, call.switch_id, list(schedules))
        if kept is None:
            raise unknown()
        return tuple(kept)

    async def open_effects(self, call: EnforceCall) -> int:
        """How many have not ended."""
        (row,) = await tenant_select(self._pool, call.tenant_id, _OPEN, call.switch_id)
        return row["number"]

    async def give_up(self, call: EnforceCall) -> int:
        """Each in a transaction of its own, as its tenant; one that ends meanwhile keeps its end."""
        given_up = 0
        while rows := await tenant_select(self._pool, call.tenant_id, _OPEN_ATTEMPTS, call.switch_id):
            for row in rows:
                tenant_id = row["tenant_id"]
                async with tenant_transaction(self._pool, tenant_id) as connection:
                    record = await locked_call(connection, tenant_id, (row["workflow_id"], row["step_key"], row["attempt"]))
                    if record is not None:
                        await lose(connection, record)
                given_up += 1
        return given_up

    async def statement(self, call: EnforceCall) -> KillSwitchStatement:
        """What the switch did, as of now. Raises NotFound."""
        rows = await tenant_select(self._pool, call.tenant_id, _SWITCH, call.switch_id)
        if not rows:
            raise unknown()
        (sums,) = await tenant_select(self._pool, call.tenant_id, _SUMS, call.switch_id)
        runs = await tenant_select(self._pool, call.tenant_id, _RUNS, call.switch_id, LISTED_AT_MOST)
        effects = await tenant_select(self._pool, call.tenant_id, _LISTED, call.switch_id, LISTED_AT_MOST)
        names = ("switch_id", "scope", "value", "target_tenant", "epoch", "engaged_by", "engaged_at", "stated_at", "runs_found")
        return KillSwitchStatement(
            **{name: rows[0][name] for name in names},
            lease_ms=round(LEASE_SECONDS * 1000),
            silence_ms=round(sums["silence"].total_seconds() * 1000),
            stillness_ms=round(sums["stillness"].total_seconds() * 1000),
            effects_found=sums["found"],
            effects_unknown=sums["unknown"],
            effects_unrecorded=sums["unrecorded"],
            runs=tuple(StoppedRun.model_validate({name: row[name] for name in StoppedRun.model_fields}) for row in runs),
            effects=tuple(map(_effect, effects)),
            schedules_paused=tuple(rows[0]["schedules"]),
            listed_at_most=LISTED_AT_MOST,
        )

    async def state(self, call: EnforceCall, statement: KillSwitchStatement, envelope: dict[str, Any]) -> None:
        """Keeps the signed statement, with `kill_switch.stated`; the first one stands."""
        async with tenant_transaction(self._pool, call.tenant_id) as connection:
            if await _stated(connection, call, statement, envelope):
                names = ("switch_id", "silence_ms", "stillness_ms", "runs_found", "effects_found", "effects_unknown")
                told = KillSwitchStated(**{name: getattr(statement, name) for name in names})
                await insert_events(connection, call.tenant_id, (event_of(told),))


async def _stated(connection: Connection, call: EnforceCall, statement: KillSwitchStatement, envelope: dict[str, Any]) -> bool:
    """Whether this statement is the first."""
    values = (call.tenant_id, call.switch_id, envelope, statement.stated_at)
    return await connection.fetchval(_STATED, *values) is not None


def _effect(row: Any) -> StoppedEffect:
    return StoppedEffect(
        key=f"{row['workflow_id']}/{row['step_key']}",
        owed=row["settlement"],
        **{name: row[name] for name in ("attempt", "provider", "model", "reserved_at", "sent_at", "ended_at", "outcome")},
    )
