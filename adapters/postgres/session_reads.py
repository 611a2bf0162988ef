"""Projections of sessions, turns and decisions: what a GET reads. Texts are joined in from their blobs."""

from __future__ import annotations

import time

from adapters.postgres.connection import Pool, Row, tenant_select, tenant_transaction
from adapters.postgres.decisions import decision_record
from adapters.postgres.notices import Notices
from domain.decisions import Decision, Resolution
from domain.errors import NotFound
from domain.models import ChatMessage
from domain.ports.sessions import DecisionRecord
from domain.sessions import FINAL_TURN_STATUSES, SessionStatus, SessionView, TurnStatus, TurnView

_SESSION = """
SELECT s.*, d.decision, d.resolution,
       (SELECT count(*) FROM turns t WHERE t.tenant_id = s.tenant_id AND t.session_id = s.session_id) AS turn_count
FROM sessions s JOIN decisions d USING (tenant_id, decision_id)
WHERE s.tenant_id = $1
"""
_TURN = """
SELECT t.*, convert_from(m.content, 'UTF8') AS message, convert_from(r.content, 'UTF8') AS reply, d.decision
FROM turns t
LEFT JOIN blobs m ON m.tenant_id = t.tenant_id AND m.sha256 = coalesce(t.used_sha256, t.message_sha256)
LEFT JOIN blobs r ON r.tenant_id = t.tenant_id AND r.sha256 = t.reply_sha256
LEFT JOIN decisions d ON d.tenant_id = t.tenant_id AND d.decision_id = t.decision_id
"""
_TURNS = f"{_TURN} WHERE t.tenant_id = $1 AND t.session_id = $2"
_ONE_TURN = f"{_TURN} WHERE t.tenant_id = tenant.tenant_id AND t.session_id = $2 AND t.turn_id = $3"
_TURN_STATUS = "SELECT status FROM turns WHERE tenant_id = tenant.tenant_id AND turn_id = $2"
_SETTLED = FINAL_TURN_STATUSES | {TurnStatus.AWAITING_APPROVAL}


class PostgresSessionReads:
    """Implements `domain.ports.sessions.SessionReads`."""

    def __init__(self, pool: Pool, notices: Notices) -> None:
        """`notices` tells when something was written."""
        self._pool, self._notices = pool, notices

    async def session(self, tenant_id: str, session_id: str) -> SessionView:
        """One session. Raises NotFound."""
        async with tenant_transaction(self._pool, tenant_id) as connection:
            row = await connection.fetchrow(_SESSION + " AND s.session_id = $2", tenant_id, session_id)
        if row is None:
            raise NotFound("No session has that id.")
        return _session_view(row)

    async def sessions(
        self, tenant_id: str, *, status: SessionStatus | None, after: str | None, limit: int
    ) -> tuple[SessionView, ...]:
        """Newest first, from after that id on."""
        async with tenant_transaction(self._pool, tenant_id) as connection:
            rows = await connection.fetch(
                _SESSION
                + """ AND ($2::text IS NULL OR s.status = $2) AND ($3::text IS NULL OR s.session_id < $3)
                ORDER BY s.session_id DESC LIMIT $4""",
                tenant_id,
                status.value if status else None,
                after,
                limit,
            )
        return tuple(_session_view(row) for row in rows)

    async def turn(self, tenant_id: str, session_id: str, turn_id: str) -> TurnView:
        """One turn with its texts. Raises NotFound."""
        rows = await tenant_select(self._pool, tenant_id, _ONE_TURN, session_id, turn_id)
        if not rows:
            raise NotFound("No turn has that id in this session.")
        return _turn_view(rows[0])

    async def turns(self, tenant_id: str, session_id: str, *, after: int, limit: int) -> tuple[TurnView, ...]:
        """The transcript in order, from after that sequence number on."""
        async with tenant_transaction(self._pool, tenant_id) as connection:
            rows = await connection.fetch(_TURNS + " AND t.seq > $3 ORDER BY t.seq LIMIT $4", tenant_id, session_id, after, limit)
        return tuple(_turn_view(row) for row in rows)

    async def conversation(self, tenant_id: str, session_id: str, before: int, limit: int) -> tuple[ChatMessage, ...]:
        """The last completed exchanges before a turn, oldest first."""
        async with tenant_transaction(self._pool, tenant_id) as connection:
            rows = await connection.fetch(
                _TURNS + " AND t.seq < $3 AND t.status = 'completed' ORDER BY t.seq DESC LIMIT $4",
                tenant_id,
                session_id,
                before,
                limit,
            )
        messages: list[ChatMessage] = []
        for row in reversed(rows):
            messages.append(ChatMessage(role="user", content=row["message"] or "", source=row["turn_id"]))
            messages.append(ChatMessage(role="assistant", content=row["reply"] or "", source=row["turn_id"]))
        return tuple(messages)

    async def turn_number(self, tenant_id: str, session_id: str, turn_id: str) -> int:
        """The sequence number of a turn. Raises NotFound."""
        async with tenant_transaction(self._pool, tenant_id) as connection:
            seq = await connection.fetchval(
                "SELECT seq FROM turns WHERE tenant_id = $1 AND session_id = $2 AND turn_id = $3", tenant_id, session_id, turn_id
            )
        if seq is None:
            raise NotFound("No turn has that id in this session.")
        return seq

    async def wait_turn(self, tenant_id: str, session_id: str, turn_id: str, timeout_seconds: float) -> TurnView:
        """The turn once it has ended or waits for an approver, or as it stands after that time."""
        deadline = time.monotonic() + timeout_seconds
        while (left := deadline - time.monotonic()) > 0:
            # Counted before looking, so that what is written in between is not waited for.
            seen = self._notices.count
            rows = await tenant_select(self._pool, tenant_id, _TURN_STATUS, turn_id)
            if not rows or rows[0]["status"] in _SETTLED:
                break
            await self._notices.wait(left, seen)
        return await self.turn(tenant_id, session_id, turn_id)

    async def decision(self, tenant_id: str, decision_id: str) -> DecisionRecord:
        """One decision. Raises NotFound."""
        async with tenant_transaction(self._pool, tenant_id) as connection:
            row = await connection.fetchrow(
                "SELECT * FROM decisions WHERE tenant_id = $1 AND decision_id = $2", tenant_id, decision_id
            )
        if row is None:
            raise NotFound("No decision has that id.")
        return decision_record(row)

    async def decisions(self, tenant_id: str, *, open_only: bool, after: str | None, limit: int) -> tuple[DecisionRecord, ...]:
        """Newest first, from after that id on; `open_only`: escalated and not yet resolved."""
        async with tenant_transaction(self._pool, tenant_id) as connection:
            rows = await connection.fetch(
                """
                SELECT * FROM decisions
                WHERE tenant_id = $1 AND ($2::text IS NULL OR decision_id < $2)
                  AND (NOT $3 OR (verdict = 'escalate' AND resolution IS NULL))
                ORDER BY decision_id DESC LIMIT $4
                """,
                tenant_id,
                after,
                open_only,
                limit,
            )
        return tuple(decision_record(row) for row in rows)


def _session_view(row: Row) -> SessionView:
    return SessionView(
        session_id=row["session_id"],
        workflow_id=row["workflow_id"],
        run_id=row["run_id"],
        subject=row["subject"],
        status=row["status"],
        decision=Decision.model_validate(row["decision"]),
        resolution=Resolution.model_validate(row["resolution"]) if row["resolution"] else None,
        persona=row["persona"],
        model_role=row["model_role"],
        documents=tuple(row["documents"]),
        metadata=row["metadata"],
        turns=row["turn_count"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        closed_at=row["closed_at"],
        close_reason=row["close_reason"],
    )


def _turn_view(row: Row) -> TurnView:
    return TurnView(
        turn_id=row["turn_id"],
        session_id=row["session_id"],
        seq=row["seq"],
        status=row["status"],
        content=row["message"] or "",
        reply=row["reply"],
        provider=row["provider"],
        model=row["model"],
        fallback=row["fallback"],
        usage=row["usage"],
        citations=row["citations"],
        decision=row["decision"],
        error=row["error"],
        warnings=row["warnings"],
        created_at=row["created_at"],
        completed_at=row["completed_at"],
    )
