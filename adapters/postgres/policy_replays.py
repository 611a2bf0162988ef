"""Replays of decisions in Postgres, and the recorded decisions they ask again."""

from __future__ import annotations

from typing import Final

from adapters.postgres.connection import Pool, Row, tenant_select, tenant_transaction
from adapters.postgres.outbox import event_of, insert_events
from domain.base import Sha256, UtcTime
from domain.decisions import Decision
from domain.errors import NotFound
from domain.event_data.policies import PolicyReplayEnded
from domain.ids import DecisionId
from domain.policy_replays import (
    CloseReplayCall,
    PolicyReplayInput,
    PolicyReplayView,
    RecordedDecision,
    ReplayPart,
    ReplayStatus,
)

_OPEN: Final = """
INSERT INTO policy_replays (tenant_id, replay_id, workflow_id, since, until, candidates, created_by)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant_id, replay_id) DO NOTHING
"""
# What is counted goes on from the cursor, so that a part that is asked twice counts once.
_ADVANCE: Final = """
UPDATE policy_replays SET cursor = $4, decisions = decisions + $5 + $6 + $7, identical = identical + $5, changed = changed + $6,
       not_replayable = not_replayable + $7
WHERE tenant_id = $1 AND replay_id = $2 AND status = 'running' AND cursor IS NOT DISTINCT FROM $3
"""
_CLOSE: Final = """
UPDATE policy_replays SET status = $3, result_sha256 = $4, completed_at = now()
WHERE tenant_id = $1 AND replay_id = $2 AND status = 'running'
RETURNING decisions, identical, changed, not_replayable
"""
_SELECT: Final = "SELECT * FROM policy_replays WHERE tenant_id = tenant.tenant_id"
_GET: Final = f"{_SELECT} AND replay_id = $2"
_PAGE: Final = f"""{_SELECT} AND ($2::text IS NULL OR status = $2) AND ($3::text IS NULL OR replay_id < $3)
ORDER BY replay_id DESC LIMIT $4
"""
_RECORDED: Final = """
SELECT decision, snapshot FROM decisions
WHERE tenant_id = tenant.tenant_id AND decided_at < $3 AND ($2::timestamptz IS NULL OR decided_at >= $2)
  AND ($4::text IS NULL OR decision_id > $4)
ORDER BY decision_id LIMIT $5
"""


class PostgresPolicyReplays:
    """DecisionHistory, PolicyReplayStore and PolicyReplayReads. Every method raises DependencyUnavailable."""

    def __init__(self, pool: Pool) -> None:
        """`pool` connects as the application's role."""
        self._pool = pool

    async def recorded(
        self, tenant_id: str, *, since: UtcTime | None, until: UtcTime, after: DecisionId | None, limit: int
    ) -> tuple[RecordedDecision, ...]:
        """Those decided from `since` on, before `until`, oldest first, from after that id on."""
        rows = await tenant_select(self._pool, tenant_id, _RECORDED, since, until, after, limit)
        return tuple(
            RecordedDecision(decision=Decision.model_validate(row["decision"]), snapshot=row["snapshot"]) for row in rows
        )

    async def open(self, asked: PolicyReplayInput, workflow_id: str) -> None:
        """Adds the replay as running; the first writer wins."""
        candidates = asked.candidates.sha256 if asked.candidates else None
        values = (asked.replay_id, workflow_id, asked.since, asked.until, candidates, asked.actor.subject)
        async with tenant_transaction(self._pool, asked.actor.tenant_id) as connection:
            await connection.execute(_OPEN, asked.actor.tenant_id, *values)

    async def advance(self, asked: PolicyReplayInput, last: DecisionId, found: ReplayPart) -> None:
        """Counts what was found after `asked.after`, once."""
        counts = (found.identical, len(found.changes), len(found.skipped))
        async with tenant_transaction(self._pool, asked.actor.tenant_id) as connection:
            await connection.execute(_ADVANCE, asked.actor.tenant_id, asked.replay_id, asked.after, last, *counts)

    async def close(self, call: CloseReplayCall, result: Sha256) -> None:
        """Records how it ended, with `policy_replay.ended`; the first writer wins."""
        tenant_id = call.actor.tenant_id
        async with tenant_transaction(self._pool, tenant_id) as connection:
            row = await connection.fetchrow(_CLOSE, tenant_id, call.replay_id, call.status.value, result)
            if row is not None:
                told = PolicyReplayEnded(
                    replay_id=call.replay_id,
                    status=call.status.value,
                    decisions=row["decisions"],
                    identical=row["identical"],
                    changed=row["changed"],
                    not_replayable=row["not_replayable"],
                    subject=call.actor.subject,
                )
                await insert_events(connection, tenant_id, (event_of(told),))

    async def get(self, tenant_id: str, replay_id: str) -> PolicyReplayView:
        """One replay. Raises NotFound."""
        rows = await tenant_select(self._pool, tenant_id, _GET, replay_id)
        if not rows:
            raise NotFound("No replay has that id.")
        return _view(rows[0])

    async def page(
        self, tenant_id: str, *, status: ReplayStatus | None, after: str | None, limit: int
    ) -> tuple[PolicyReplayView, ...]:
        """Newest first, from after that id on."""
        rows = await tenant_select(self._pool, tenant_id, _PAGE, status.value if status else None, after, limit)
        return tuple(_view(row) for row in rows)


def _view(row: Row) -> PolicyReplayView:
    return PolicyReplayView.model_validate({name: row[name] for name in PolicyReplayView.model_fields})
