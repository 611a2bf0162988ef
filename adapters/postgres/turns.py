"""Rows of turns, inside a transaction of whoever writes them."""

from __future__ import annotations

from typing import Any

from adapters.postgres.connection import Connection
from domain.errors import NotFound
from domain.event_data.base import EventData, reason_codes
from domain.event_data.sessions import TurnCancelled, TurnCompleted, TurnDenied, TurnFailed
from domain.sessions import FINAL_TURN_STATUSES, Turn, TurnResult, TurnStatus

FINAL = sorted(status.value for status in FINAL_TURN_STATUSES)

_INSERT = """
INSERT INTO turns (tenant_id, turn_id, session_id, seq, request_key, client_id, status, message_sha256, decision_id, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, now())
"""


async def insert_turn(connection: Connection, session_id: str, turn: Turn, status: TurnStatus, decision_id: str | None) -> None:
    """Adds the turn."""
    await connection.execute(
        _INSERT,
        turn.actor.tenant_id,
        turn.turn_id,
        session_id,
        turn.seq,
        turn.request_key,
        turn.actor.client_id,
        status.value,
        turn.message.sha256,
        decision_id,
    )


async def next_seq(connection: Connection, tenant_id: str, session_id: str) -> int:
    """The number of the session's next turn; the session's row stays locked, so that no other transaction takes it too."""
    await connection.execute("SELECT 1 FROM sessions WHERE tenant_id = $1 AND session_id = $2 FOR UPDATE", tenant_id, session_id)
    return await connection.fetchval(
        "SELECT coalesce(max(seq), 0) + 1 FROM turns WHERE tenant_id = $1 AND session_id = $2", tenant_id, session_id
    )


async def turn_seq(connection: Connection, tenant_id: str, turn_id: str) -> int | None:
    """The number of a turn in its session; None when it is not there."""
    return await connection.fetchval("SELECT seq FROM turns WHERE tenant_id = $1 AND turn_id = $2", tenant_id, turn_id)


async def advance_turn(
    connection: Connection, tenant_id: str, turn_id: str, status: TurnStatus, decision_id: str | None, used: str | None
) -> int | None:
    """Moves a turn on that has not ended; its number, or None when there is nothing to move. `used` is the digest of the
    transformed text that takes the message's place."""
    return await connection.fetchval(
        """
        UPDATE turns SET status = $3, decision_id = coalesce($4, decision_id), used_sha256 = coalesce($5, used_sha256),
            started_at = CASE WHEN $3 = 'running' THEN now() ELSE started_at END
        WHERE tenant_id = $1 AND turn_id = $2 AND status <> ALL ($6::text[]) AND status <> $3
        RETURNING seq
        """,
        tenant_id,
        turn_id,
        status.value,
        decision_id,
        used,
        FINAL,
    )


async def turn_status(connection: Connection, tenant_id: str, turn_id: str) -> TurnStatus:
    """The status of a turn. Raises NotFound."""
    status = await connection.fetchval("SELECT status FROM turns WHERE tenant_id = $1 AND turn_id = $2", tenant_id, turn_id)
    if status is None:
        raise NotFound("No turn has that id.")
    return TurnStatus(status)


def ended_event(session_id: str, turn_id: str, seq: int, result: TurnResult) -> EventData:
    """What the event of a turn's end tells."""
    about: dict[str, Any] = {"session_id": session_id, "turn_id": turn_id, "seq": seq}
    if result.status is TurnStatus.COMPLETED and result.reply is not None:
        return TurnCompleted(
            **about,
            provider=result.provider or "",
            model=result.model or "",
            fallback=result.fallback,
            usage=result.usage,
            reply_sha256=result.reply.sha256,
            citations=len(result.citations),
        )
    if result.status is TurnStatus.DENIED:
        decision = result.decision
        return TurnDenied(
            **about,
            decision_id=decision.decision_id if decision else None,
            reasons=reason_codes(decision) if decision else (),
        )
    if result.status is TurnStatus.CANCELLED:
        return TurnCancelled(**about)
    return TurnFailed(**about, error_type=result.error.type if result.error else "internal-error")
