"""The journal of model calls: one row an attempt, one answer a step, each end with its event on `slm.metrics`.

A late attempt may complete after a later one began: the first answer stands for the step, and every completed attempt is
recorded, since each was paid for.
"""

from __future__ import annotations

from typing import Any

from adapters.postgres.connection import Connection, Pool, Row, tenant_transaction
from adapters.postgres.outbox import event_of, insert_events
from domain.event_data import SlmCallRecorded
from domain.models import CallOutcome, CallRecord, SlmAnswer

_ANSWER = "SELECT answer FROM slm_calls WHERE tenant_id = $1 AND workflow_id = $2 AND step_key = $3 AND answer IS NOT NULL"

# A workflow that is reset counts its attempts from 1 again: the row of that number then begins anew, its end told by its event.
_BEGIN = """
INSERT INTO slm_calls (tenant_id, workflow_id, step_key, attempt, session_id, turn_id, role, provider, model, outcome,
                       queue_wait_ms)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'started', $10)
ON CONFLICT (tenant_id, workflow_id, step_key, attempt) DO UPDATE
SET provider = excluded.provider, model = excluded.model, outcome = 'started', queue_wait_ms = excluded.queue_wait_ms,
    input_tokens = 0, output_tokens = 0, latency_ms = 0, error_type = NULL, started_at = now(), ended_at = NULL
"""

_LOSE = """
UPDATE slm_calls SET outcome = 'unknown', ended_at = now()
WHERE tenant_id = $1 AND workflow_id = $2 AND step_key = $3 AND outcome = 'started'
RETURNING attempt, provider, model, queue_wait_ms
"""

# In the order of attempts, so that two that lock at once cannot lock each other out.
_LOCK = "SELECT attempt FROM slm_calls WHERE tenant_id = $1 AND workflow_id = $2 AND step_key = $3 ORDER BY attempt FOR UPDATE"

# What was recorded as unknown, or as failed before its answer came after all, is put right.
_END = """
UPDATE slm_calls SET outcome = $5, answer = $6, model = $7, input_tokens = $8, output_tokens = $9, latency_ms = $10,
    error_type = $11, ended_at = now()
WHERE tenant_id = $1 AND workflow_id = $2 AND step_key = $3 AND attempt = $4 AND outcome <> 'completed'
    AND ($5 = 'completed' OR outcome IN ('started', 'unknown'))
RETURNING attempt
"""


class PostgresCalls:
    """Implements `domain.ports.models.CallJournal`. Every method raises DependencyUnavailable when Postgres is down."""

    def __init__(self, pool: Pool) -> None:
        """`pool` connects as the application's role."""
        self._pool = pool

    async def begin(self, record: CallRecord) -> SlmAnswer | None:
        """Records the attempt as started; the answer of an earlier attempt, if one completed.

        An attempt that was started and never ended died on the way: it becomes `unknown`, with its event.
        """
        async with tenant_transaction(self._pool, record.tenant_id) as connection:
            # First, since it waits for an attempt that is just completing: its answer is then found.
            rows = await connection.fetch(_LOSE, *_step(record))
            await insert_events(connection, record.tenant_id, [event_of(_lost(row, record)) for row in rows])
            if kept := await _answer(connection, record):
                return kept
            await connection.execute(
                _BEGIN,
                *_step(record),
                record.attempt,
                record.session_id,
                record.turn_id,
                record.role,
                record.provider,
                record.model,
                record.queue_wait_ms,
            )
        return None

    async def complete(self, record: CallRecord, answer: SlmAnswer) -> SlmAnswer:
        """Records the attempt, with its event; the first writer wins and its answer is returned."""
        async with tenant_transaction(self._pool, record.tenant_id) as connection:
            await connection.execute(_LOCK, *_step(record))
            kept = await _answer(connection, record)
            await _end(connection, record, None if kept else answer.model_dump(mode="json"))
        return kept or answer

    async def end(self, record: CallRecord) -> None:
        """Records an attempt that failed or was cancelled, with its event; one that has ended keeps its end."""
        async with tenant_transaction(self._pool, record.tenant_id) as connection:
            await _end(connection, record, None)


def _step(record: CallRecord) -> tuple[str, str, str]:
    return record.tenant_id, record.workflow_id, record.step_key


async def _answer(connection: Connection, record: CallRecord) -> SlmAnswer | None:
    stored = await connection.fetchval(_ANSWER, *_step(record))
    return SlmAnswer.model_validate(stored) if stored is not None else None


async def _end(connection: Connection, record: CallRecord, answer: dict[str, Any] | None) -> None:
    changed = await connection.fetchval(
        _END,
        *_step(record),
        record.attempt,
        record.outcome.value,
        answer,
        record.model,
        record.input_tokens,
        record.output_tokens,
        record.latency_ms,
        record.error_type,
    )
    if changed is not None:
        await insert_events(connection, record.tenant_id, [event_of(SlmCallRecorded.of(record))])


def _lost(row: Row, current: CallRecord) -> SlmCallRecorded:
    """The record of an attempt nobody knows the end of; its tokens are not known either."""
    known = {name: row[name] for name in ("attempt", "provider", "model", "queue_wait_ms")}
    return SlmCallRecorded.of(current.model_copy(update=known | {"outcome": CallOutcome.UNKNOWN}))
