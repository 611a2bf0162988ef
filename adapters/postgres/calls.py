"""The journal of model calls: one row an attempt, one completed answer a step, each with its event on `slm.metrics`."""

from __future__ import annotations

from typing import Any

from adapters.postgres.connection import Connection, Pool, Row, tenant_transaction
from adapters.postgres.outbox import event_of, insert_events
from domain.event_data import SlmCallRecorded
from domain.models import CallOutcome, CallRecord, SlmAnswer


class PostgresCalls:
    """Implements `domain.ports.models.CallJournal`. Every method raises DependencyUnavailable when Postgres is down."""

    def __init__(self, pool: Pool) -> None:
        """`pool` connects as the application's role."""
        self._pool = pool

    async def begin(self, record: CallRecord) -> SlmAnswer | None:
        """Records the attempt as started; the answer of an earlier attempt, if one completed.

        An earlier attempt that was started and never ended died on the way: it becomes `unknown`, with its event.
        """
        async with tenant_transaction(self._pool, record.tenant_id) as connection:
            if kept := await _answer(connection, record):
                return kept
            await _lose_track(connection, record)
            await connection.execute(
                """
                INSERT INTO slm_calls (tenant_id, workflow_id, step_key, attempt, session_id, turn_id, role, provider, model,
                                       outcome, queue_wait_ms)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'started', $10)
                ON CONFLICT DO NOTHING
                """,
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
        """Keeps the answer, with its event; the first writer wins and its answer is returned."""
        async with tenant_transaction(self._pool, record.tenant_id) as connection:
            # Two attempts may end at once; the lock makes one of them the first.
            await connection.execute(
                "SELECT 1 FROM slm_calls WHERE tenant_id = $1 AND workflow_id = $2 AND step_key = $3 FOR UPDATE", *_step(record)
            )
            if kept := await _answer(connection, record):
                return kept
            await _end(connection, record, answer.model_dump(mode="json"))
        return answer

    async def end(self, record: CallRecord) -> None:
        """Records an attempt that failed or was cancelled, with its event."""
        async with tenant_transaction(self._pool, record.tenant_id) as connection:
            await _end(connection, record, None)


def _step(record: CallRecord) -> tuple[str, str, str]:
    return record.tenant_id, record.workflow_id, record.step_key


async def _answer(connection: Connection, record: CallRecord) -> SlmAnswer | None:
    stored = await connection.fetchval(
        "SELECT answer FROM slm_calls WHERE tenant_id = $1 AND workflow_id = $2 AND step_key = $3 AND outcome = 'completed'",
        *_step(record),
    )
    return SlmAnswer.model_validate(stored) if stored is not None else None


async def _end(connection: Connection, record: CallRecord, answer: dict[str, Any] | None) -> None:
    changed = await connection.fetchval(
        """
        UPDATE slm_calls SET outcome = $5, answer = $6, model = $7, input_tokens = $8, output_tokens = $9, latency_ms = $10,
            error_type = $11, ended_at = now()
        WHERE tenant_id = $1 AND workflow_id = $2 AND step_key = $3 AND attempt = $4 AND outcome IN ('started', 'unknown')
        RETURNING attempt
        """,
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


async def _lose_track(connection: Connection, record: CallRecord) -> None:
    rows = await connection.fetch(
        """
        UPDATE slm_calls SET outcome = 'unknown', ended_at = now()
        WHERE tenant_id = $1 AND workflow_id = $2 AND step_key = $3 AND attempt < $4 AND outcome = 'started'
        RETURNING attempt, provider, model, queue_wait_ms
        """,
        *_step(record),
        record.attempt,
    )
    lost = [event_of(SlmCallRecorded.of(_record(row, record))) for row in rows]
    await insert_events(connection, record.tenant_id, lost)


def _record(row: Row, current: CallRecord) -> CallRecord:
    return current.model_copy(
        update={
            "attempt": row["attempt"],
            "provider": row["provider"],
            "model": row["model"],
            "queue_wait_ms": row["queue_wait_ms"],
            "outcome": CallOutcome.UNKNOWN,
        }
    )
