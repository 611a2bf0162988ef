"""Sessions and turns: each write is one transaction with its events, and the first writer wins.

A step that runs twice finds its row and returns what stands there; events are written only with a row that was new.
"""

from __future__ import annotations

import json
from typing import Any

from adapters.postgres.blobs import stored_bytes
from adapters.postgres.connection import Connection, Pool, tenant_transaction
from adapters.postgres.decisions import decision_events, insert_decision, resolve_decision, stored_decision
from adapters.postgres.outbox import event_of, insert_events
from adapters.postgres.turns import FINAL, advance_turn, ended_event, insert_turn, next_seq, turn_seq, turn_status
from domain.blobs import BlobRef
from domain.decisions import Decision, GateRequest, Resolution, Verdict
from domain.event_data.base import EventData, reason_codes
from domain.event_data.decisions import DecisionResolved
from domain.event_data.sessions import (
    SessionClosed,
    SessionDenied,
    SessionEscalated,
    SessionStarted,
    TurnCancelled,
    TurnDenied,
    TurnEscalated,
    TurnQueued,
    TurnStarted,
)
from domain.sessions import ENDING_REASONS, SendRequest, SessionInput, SessionStatus, Turn, TurnResult, TurnStatus

_INSERT_SESSION = """
INSERT INTO sessions (tenant_id, session_id, workflow_id, run_id, subject, client_id, status, decision_id, persona, model_role,
                      documents, metadata, created_at, updated_at, closed_at, close_reason)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13, $14, $15)
"""


class PostgresSessions:
    """Implements `domain.ports.sessions.SessionStore`. Every method raises DependencyUnavailable when Postgres is down."""

    def __init__(self, pool: Pool) -> None:
        """`pool` connects as the application's role."""
        self._pool = pool

    async def decision(self, tenant_id: str, workflow_id: str, step_key: str) -> Decision | None:
        """The decision this step already has, if any."""
        async with tenant_transaction(self._pool, tenant_id) as connection:
            return await stored_decision(connection, tenant_id, workflow_id, step_key)

    async def start(
        self,
        session: SessionInput,
        run_id: str,
        workflow_id: str,
        request: GateRequest,
        decision: Decision,
        snapshot: dict[str, Any],
    ) -> Decision:
        """Records the decision, the session and, unless it is denied, its first turn."""
        tenant_id = session.actor.tenant_id
        async with tenant_transaction(self._pool, tenant_id) as connection:
            if stored := await insert_decision(connection, request, decision, snapshot):
                return stored
            await _insert_session(connection, session, run_id, workflow_id, decision)
            events = decision_events(request, decision, snapshot)
            events.append(event_of(_session_data(session, workflow_id, decision)))
            if session.first_turn and session.prompt and decision.verdict is not Verdict.DENY:
                waiting = decision.verdict is Verdict.ESCALATE
                turn = Turn(
                    turn_id=session.first_turn,
                    seq=1,
                    request_key=session.request_key,
                    actor=session.actor,
                    message=decision.transformed or session.prompt,
                )
                status = TurnStatus.AWAITING_APPROVAL if waiting else TurnStatus.QUEUED
                await insert_turn(connection, session.session_id, turn, status, decision.decision_id)
                events.append(event_of(_queued(session.session_id, turn)))
            await insert_events(connection, tenant_id, events)
        return decision

    async def queue(self, session_id: str, request: SendRequest) -> int:
        """Records a queued turn as the last of its session; its number, the same when it is there already."""
        tenant_id = request.actor.tenant_id
        async with tenant_transaction(self._pool, tenant_id) as connection:
            there = await turn_seq(connection, tenant_id, request.turn_id)
            if there is not None:
                return there
            turn = Turn(
                turn_id=request.turn_id,
                seq=await next_seq(connection, tenant_id, session_id),
                request_key=request.request_key,
                actor=request.actor,
                message=request.message,
            )
            await insert_turn(connection, session_id, turn, TurnStatus.QUEUED, None)
            await insert_events(connection, tenant_id, [event_of(_queued(session_id, turn))])
        return turn.seq

    async def open_turn(
        self, session_id: str, turn: Turn, request: GateRequest, decision: Decision, snapshot: dict[str, Any]
    ) -> Decision:
        """Records the decision on a turn and marks it running or awaiting approval; a denied one, `close_turn` ends."""
        tenant_id = turn.actor.tenant_id
        async with tenant_transaction(self._pool, tenant_id) as connection:
            if stored := await insert_decision(connection, request, decision, snapshot):
                return stored
            events = decision_events(request, decision, snapshot)
            if decision.verdict is not Verdict.DENY:
                waiting = decision.verdict is Verdict.ESCALATE
                status = TurnStatus.AWAITING_APPROVAL if waiting else TurnStatus.RUNNING
                used = decision.transformed.sha256 if decision.transformed else None
                await advance_turn(connection, tenant_id, turn.turn_id, status, decision.decision_id, used)
                about: dict[str, Any] = {"session_id": session_id, "turn_id": turn.turn_id, "seq": turn.seq}
                data = (
                    TurnEscalated(**about, decision_id=decision.decision_id, reasons=reason_codes(decision))
                    if waiting
                    else TurnStarted(**about, decision_id=decision.decision_id, verdict=decision.verdict)
                )
                events.append(event_of(data))
            await insert_events(connection, tenant_id, events)
        return decision

    async def record_review(
        self, session_id: str, turn: Turn, request: GateRequest, decision: Decision, snapshot: dict[str, Any]
    ) -> Decision:
        """Records the decision on an answer; one that is escalated makes the turn wait for an approver."""
        tenant_id = request.actor.tenant_id
        async with tenant_transaction(self._pool, tenant_id) as connection:
            if stored := await insert_decision(connection, request, decision, snapshot):
                return stored
            events = decision_events(request, decision, snapshot)
            if decision.verdict is Verdict.ESCALATE:
                await advance_turn(connection, tenant_id, turn.turn_id, TurnStatus.AWAITING_APPROVAL, decision.decision_id, None)
                about: dict[str, Any] = {"session_id": session_id, "turn_id": turn.turn_id, "seq": turn.seq}
                reasons = reason_codes(decision)
                events.append(event_of(TurnEscalated(**about, decision_id=decision.decision_id, reasons=reasons)))
            await insert_events(connection, tenant_id, events)
        return decision

    async def run_turn(self, tenant_id: str, session_id: str, turn_id: str) -> None:
        """Marks a turn running whose decision was taken before."""
        async with tenant_transaction(self._pool, tenant_id) as connection:
            seq = await advance_turn(connection, tenant_id, turn_id, TurnStatus.RUNNING, None, None)
            if seq is not None:
                started = TurnStarted(session_id=session_id, turn_id=turn_id, seq=seq)
                await insert_events(connection, tenant_id, [event_of(started)])

    async def close_turn(self, tenant_id: str, session_id: str, turn_id: str, result: TurnResult) -> TurnStatus:
        """Records how a turn ended; a turn that has ended keeps its end, which is returned."""
        async with tenant_transaction(self._pool, tenant_id) as connection:
            seq = await connection.fetchval(
                """
                UPDATE turns SET status = $3, reply_sha256 = $4, decision_id = coalesce($5, decision_id), provider = $6,
                    model = $7, fallback = $8, usage = $9, citations = $10, error = $11, warnings = $12, completed_at = now()
                WHERE tenant_id = $1 AND turn_id = $2 AND status <> ALL ($13::text[])
                RETURNING seq
                """,
                tenant_id,
                turn_id,
                result.status.value,
                result.reply.sha256 if result.reply else None,
                result.decision.decision_id if result.decision else None,
                result.provider,
                result.model,
                result.fallback,
                result.usage.model_dump(),
                [citation.model_dump() for citation in result.citations],
                result.error.model_dump() if result.error else None,
                [warning.value for warning in result.warnings],
                FINAL,
            )
            if seq is None:
                return await turn_status(connection, tenant_id, turn_id)
            await connection.execute(
                "UPDATE sessions SET updated_at = now() WHERE tenant_id = $1 AND session_id = $2", tenant_id, session_id
            )
            await insert_events(connection, tenant_id, [event_of(ended_event(session_id, turn_id, seq, result))])
        return result.status

    async def resolve(
        self, tenant_id: str, session_id: str, resolution: Resolution, comment: BlobRef | None = None
    ) -> Resolution:
        """Records an approver's answer to an escalated decision, with the text of `comment`; the first stands."""
        async with tenant_transaction(self._pool, tenant_id) as connection:
            if comment is not None:
                said = (await stored_bytes(connection, tenant_id, comment.sha256)).decode()
                resolution = resolution.model_copy(update={"comment": said})
            if stored := await resolve_decision(connection, tenant_id, resolution):
                return stored
            resolved = DecisionResolved(
                decision_id=resolution.decision_id,
                resource=session_id,
                approved=resolution.approved,
                approver=resolution.approver,
            )
            events = [event_of(resolved)]
            if resolution.approved:
                events += await _open_approved(connection, tenant_id, session_id, resolution.decision_id)
            await insert_events(connection, tenant_id, events)
        return resolution

    async def close(self, tenant_id: str, session_id: str, status: SessionStatus, reason: str) -> None:
        """Records that the session takes no more messages; turns of a refused one are denied with it, and those of a run that was
        ended are cancelled."""
        async with tenant_transaction(self._pool, tenant_id) as connection:
            closed = await connection.fetchval(
                """
                UPDATE sessions SET status = $3, close_reason = $4, closed_at = now(), updated_at = now()
                WHERE tenant_id = $1 AND session_id = $2 AND closed_at IS NULL RETURNING session_id
                """,
                tenant_id,
                session_id,
                status.value,
                reason,
            )
            if closed is None:
                return
            events = [event_of(SessionClosed(session_id=session_id, reason=reason, status=status))]
            ended = TurnDenied if status is SessionStatus.DENIED else TurnCancelled if reason in ENDING_REASONS else None
            if ended is not None:
                rows = await connection.fetch(
                    """
                    UPDATE turns SET status = $4, completed_at = now()
                    WHERE tenant_id = $1 AND session_id = $2 AND status <> ALL ($3::text[]) RETURNING turn_id, seq
                    """,
                    tenant_id,
                    session_id,
                    FINAL,
                    TurnStatus.DENIED.value if ended is TurnDenied else TurnStatus.CANCELLED.value,
                )
                events += [event_of(ended(session_id=session_id, turn_id=row["turn_id"], seq=row["seq"])) for row in rows]
            await insert_events(connection, tenant_id, events)


async def _insert_session(
    connection: Connection, session: SessionInput, run_id: str, workflow_id: str, decision: Decision
) -> None:
    denied = decision.verdict is Verdict.DENY
    metadata: dict[str, str] = {}
    if session.metadata is not None:
        metadata = json.loads(await stored_bytes(connection, session.actor.tenant_id, session.metadata.sha256))
    await connection.execute(
        _INSERT_SESSION,
        session.actor.tenant_id,
        session.session_id,
        workflow_id,
        run_id,
        session.actor.subject,
        session.actor.client_id,
        _session_status(decision.verdict).value,
        decision.decision_id,
        session.persona,
        session.model_role,
        list(session.documents),
        metadata,
        decision.decided_at,
        decision.decided_at if denied else None,
        "denied" if denied else None,
    )


def _session_status(verdict: Verdict) -> SessionStatus:
    if verdict is Verdict.DENY:
        return SessionStatus.DENIED
    return SessionStatus.AWAITING_APPROVAL if verdict is Verdict.ESCALATE else SessionStatus.OPEN


def _session_data(session: SessionInput, workflow_id: str, decision: Decision) -> EventData:
    about: dict[str, Any] = {
        "session_id": session.session_id,
        "workflow_id": workflow_id,
        "decision_id": decision.decision_id,
        "subject": session.actor.subject,
    }
    if decision.verdict is Verdict.DENY:
        return SessionDenied(**about, verdict=decision.verdict, reasons=reason_codes(decision))
    if decision.verdict is Verdict.ESCALATE:
        return SessionEscalated(**about, reasons=reason_codes(decision))
    return SessionStarted(**about, verdict=decision.verdict, documents=session.documents, first_turn=session.first_turn)


def _queued(session_id: str, turn: Turn) -> TurnQueued:
    return TurnQueued(
        session_id=session_id,
        turn_id=turn.turn_id,
        seq=turn.seq,
        client_id=turn.actor.client_id,
        message_sha256=turn.message.sha256,
    )


async def _open_approved(connection: Connection, tenant_id: str, session_id: str, decision_id: str) -> list[Any]:
    """Opens the session whose start was approved; a decision on a turn leaves it as it is."""
    row = await connection.fetchrow(
        """
        UPDATE sessions SET status = 'open', updated_at = now()
        WHERE tenant_id = $1 AND session_id = $2 AND decision_id = $3 AND status = 'awaiting_approval'
        RETURNING workflow_id, subject, documents
        """,
        tenant_id,
        session_id,
        decision_id,
    )
    if row is None:
        return []
    first = await connection.fetchval(
        "SELECT turn_id FROM turns WHERE tenant_id = $1 AND session_id = $2 AND seq = 1", tenant_id, session_id
    )
    started = SessionStarted(
        session_id=session_id,
        workflow_id=row["workflow_id"],
        verdict=Verdict.ESCALATE,
        decision_id=decision_id,
        subject=row["subject"],
        documents=tuple(row["documents"]),
        first_turn=first,
    )
    return [event_of(started)]
