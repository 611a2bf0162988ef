"""Model requests: rows written with their events, first writer wins."""

from __future__ import annotations

from typing import Any, Final

from adapters.postgres.connection import Pool, tenant_transaction
from adapters.postgres.decisions import decision_events, record_decision, stored_decision
from adapters.postgres.outbox import event_of, insert_events
from domain.decisions import Decision, GateRequest, Verdict
from domain.errors import NotFound
from domain.event_data.slm import SlmRequestAccepted, SlmRequestEnded
from domain.models import SlmAnswer
from domain.sessions import TurnError, Usage
from domain.slm import FINAL_SLM_STATUSES, SlmRequestInput, SlmStatus

FINAL: Final = sorted(status.value for status in FINAL_SLM_STATUSES)

_OPENED = """,
opened AS (
    INSERT INTO slm_requests (tenant_id, request_id, workflow_id, run_id, client_id, subject, kind, role, pinned_model, lane,
                              status, decision_id, input_sha256, forecast_tokens)
    SELECT tenant_id, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29::bigint FROM decided
)
"""
_MOVE = """
UPDATE slm_requests SET status = $3, started_at = CASE WHEN $3 = 'running' THEN coalesce(started_at, now()) ELSE started_at END
WHERE tenant_id = $1 AND request_id = $2 AND status <> ALL ($4::text[])
"""
_CLOSE = """
UPDATE slm_requests SET status = $3, answer = $4, error = $5, reply_sha256 = $6, message_sha256 = $7, completed_at = now()
WHERE tenant_id = $1 AND request_id = $2 AND status <> ALL ($8::text[])
RETURNING request_id
"""
_STATUS = "SELECT status FROM slm_requests WHERE tenant_id = $1 AND request_id = $2"


class PostgresSlmRequests:
    """Implements `domain.ports.slm.SlmRequestStore`. Every method raises DependencyUnavailable when Postgres is down."""

    def __init__(self, pool: Pool) -> None:
        """`pool` connects as the application's role."""
        self._pool = pool

    async def decision(self, tenant_id: str, workflow_id: str, step_key: str) -> Decision | None:
        """The decision this step already has, if any."""
        async with tenant_transaction(self._pool, tenant_id) as connection:
            return await stored_decision(connection, tenant_id, workflow_id, step_key)

    async def open(
        self,
        request: SlmRequestInput,
        run_id: str,
        asked: GateRequest,
        decision: Decision,
        snapshot: dict[str, Any],
        forecast_tokens: int,
    ) -> Decision:
        """Records the decision and the request."""
        waits = decision.verdict is Verdict.ESCALATE
        accepted = SlmRequestAccepted(
            request_id=request.request_id,
            workflow_id=asked.workflow_id,
            kind=request.kind.value,
            role=request.role,
            lane=request.lane.name.lower(),
            subject=request.actor.subject,
            verdict=decision.verdict,
            decision_id=decision.decision_id,
            forecast_tokens=forecast_tokens,
            input_sha256=request.input.sha256,
        )
        return await record_decision(
            self._pool,
            asked,
            decision,
            snapshot,
            [*decision_events(asked, decision, snapshot), event_of(accepted)],
            _OPENED,
            request.request_id,
            asked.workflow_id,
            run_id,
            request.actor.client_id,
            request.actor.subject,
            request.kind.value,
            request.role,
            str(request.model) if request.model else None,
            request.lane.name.lower(),
            (SlmStatus.AWAITING_APPROVAL if waits else SlmStatus.PENDING).value,
            decision.decision_id,
            request.input.sha256,
            forecast_tokens,
        )

    async def move(self, tenant_id: str, request_id: str, status: SlmStatus) -> None:
        """Moves a request on that has not ended."""
        async with tenant_transaction(self._pool, tenant_id) as connection:
            await connection.execute(_MOVE, tenant_id, request_id, status.value, FINAL)

    async def review(self, asked: GateRequest, decision: Decision, snapshot: dict[str, Any]) -> Decision:
        """Records the decision on an answer."""
        return await record_decision(self._pool, asked, decision, snapshot, decision_events(asked, decision, snapshot))

    async def close(
        self, tenant_id: str, request_id: str, status: SlmStatus, answer: SlmAnswer | None, error: TurnError | None
    ) -> SlmStatus:
        """Records how a request ended, with its event. A request that was withheld keeps what it cost, and no reply."""
        seen = answer if status is SlmStatus.COMPLETED else None
        async with tenant_transaction(self._pool, tenant_id) as connection:
            closed = await connection.fetchval(
                _CLOSE,
                tenant_id,
                request_id,
                status.value,
                answer.model_dump(mode="json", exclude={"reply", "message"}) if answer else None,
                error.model_dump() if error else None,
                seen.reply.sha256 if seen else None,
                seen.message.sha256 if seen and seen.message else None,
                FINAL,
            )
            if closed is None:
                stored = await connection.fetchval(_STATUS, tenant_id, request_id)
                if stored is None:
                    raise NotFound("No model request has that id.")
                return SlmStatus(stored)
            await insert_events(connection, tenant_id, [event_of(_ended(request_id, status, answer, error, seen))])
        return status


def _ended(
    request_id: str, status: SlmStatus, answer: SlmAnswer | None, error: TurnError | None, seen: SlmAnswer | None
) -> SlmRequestEnded:
    return SlmRequestEnded(
        request_id=request_id,
        status=status.value,
        provider=answer.provider if answer else None,
        model=answer.model if answer else None,
        finish_reason=answer.finish_reason if answer else None,
        usage=answer.usage if answer else Usage(),
        cost_micros=answer.cost_micros if answer else None,
        currency=answer.currency if answer else None,
        price_snapshot=answer.price_snapshot if answer else None,
        reply_sha256=seen.reply.sha256 if seen else None,
        error_type=error.type if error else None,
    )
