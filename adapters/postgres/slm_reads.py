"""Projections of model requests. Texts are joined in from their blobs, and only where one request is read."""

from __future__ import annotations

import time
from typing import Any, Final

from adapters.postgres.connection import Pool, Row, tenant_select, tenant_transaction
from adapters.postgres.notices import Notices
from adapters.postgres.slm_requests import FINAL
from domain.decisions import Decision
from domain.errors import NotFound
from domain.models import ChatMessage
from domain.names import Lane
from domain.sessions import TurnError
from domain.slm import EmbeddingOutput, SlmKind, SlmStatus, SlmView

_ONE = """
SELECT r.*, d.decision, convert_from(b.content, 'UTF8') AS reply, convert_from(m.content, 'UTF8') AS message
FROM slm_requests r
LEFT JOIN decisions d ON d.tenant_id = r.tenant_id AND d.decision_id = r.decision_id
LEFT JOIN blobs b ON b.tenant_id = r.tenant_id AND b.sha256 = r.reply_sha256
LEFT JOIN blobs m ON m.tenant_id = r.tenant_id AND m.sha256 = r.message_sha256
WHERE r.tenant_id = tenant.tenant_id AND r.request_id = $2
"""
_PAGE = """
SELECT r.*, d.decision FROM slm_requests r
LEFT JOIN decisions d ON d.tenant_id = r.tenant_id AND d.decision_id = r.decision_id
WHERE r.tenant_id = $1 AND ($2::text IS NULL OR r.status = $2) AND ($3::text IS NULL OR r.request_id < $3)
ORDER BY r.request_id DESC LIMIT $4
"""
_STATUS = "SELECT status FROM slm_requests WHERE tenant_id = tenant.tenant_id AND request_id = $2"
_AHEAD = """
SELECT count(*) AS ahead FROM slm_requests
WHERE tenant_id = tenant.tenant_id AND lane = ANY ($2::text[]) AND completed_at IS NULL
"""
_SETTLED: Final = frozenset((*FINAL, SlmStatus.AWAITING_APPROVAL.value, SlmStatus.AWAITING_BUDGET.value))
_ANY: Final = frozenset(status.value for status in SlmStatus)


class PostgresSlmReads:
    """Implements `domain.ports.slm.SlmReads`."""

    def __init__(self, pool: Pool, notices: Notices) -> None:
        """`notices` tells when something was written."""
        self._pool, self._notices = pool, notices

    async def request(self, tenant_id: str, request_id: str) -> SlmView:
        """One request, with its answer once it is completed. Raises NotFound."""
        rows = await tenant_select(self._pool, tenant_id, _ONE, request_id)
        if not rows:
            raise NotFound("No model request has that id.")
        return _whole(rows[0])

    async def wait(self, tenant_id: str, request_id: str, timeout_seconds: float) -> SlmView:
        """The request once it has ended or waits for somebody, or as it stands after that time."""
        await self._until(tenant_id, request_id, timeout_seconds, _SETTLED)
        return await self.request(tenant_id, request_id)

    async def ended(self, tenant_id: str, request_id: str, timeout_seconds: float) -> SlmView:
        """The request once it has ended, or as it stands after that time."""
        await self._until(tenant_id, request_id, timeout_seconds, frozenset(FINAL))
        return await self.request(tenant_id, request_id)

    async def recorded(self, tenant_id: str, request_id: str, timeout_seconds: float) -> SlmView:
        """The request as soon as it has a row. Raises NotFound after that time."""
        await self._until(tenant_id, request_id, timeout_seconds, _ANY)
        return await self.request(tenant_id, request_id)

    async def _until(self, tenant_id: str, request_id: str, timeout_seconds: float, statuses: frozenset[str]) -> None:
        deadline = time.monotonic() + timeout_seconds
        while (left := deadline - time.monotonic()) > 0:
            # Counted before looking, so that what is written in between is not waited for.
            seen = self._notices.count
            rows = await tenant_select(self._pool, tenant_id, _STATUS, request_id)
            if rows and rows[0]["status"] in statuses:
                return
            await self._notices.wait(left, seen)

    async def requests(self, tenant_id: str, *, status: SlmStatus | None, after: str | None, limit: int) -> tuple[SlmView, ...]:
        """Newest first, from after that id on, without their answers."""
        async with tenant_transaction(self._pool, tenant_id) as connection:
            rows = await connection.fetch(_PAGE, tenant_id, status.value if status else None, after, limit)
        return tuple(_view(row) for row in rows)

    async def ahead(self, tenant_id: str, lane: str) -> int:
        """How many of the tenant's requests of this lane or a higher one have not ended."""
        lanes = [other.name.lower() for other in Lane if other <= Lane[lane.upper()]]
        rows = await tenant_select(self._pool, tenant_id, _AHEAD, lanes)
        return rows[0]["ahead"]


def _view(row: Row, **more: Any) -> SlmView:
    answer: dict[str, Any] = row["answer"] or {}
    return SlmView(
        request_id=row["request_id"],
        workflow_id=row["workflow_id"],
        status=row["status"],
        kind=row["kind"],
        role=row["role"],
        lane=row["lane"],
        subject=row["subject"],
        decision=Decision.model_validate(row["decision"]) if row["decision"] else None,
        forecast_tokens=row["forecast_tokens"],
        error=TurnError.model_validate(row["error"]) if row["error"] else None,
        reply_sha256=row["reply_sha256"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        completed_at=row["completed_at"],
        **{name: answer[name] for name in _FROM_ANSWER if name in answer},
        **more,
    )


_FROM_ANSWER: Final = (
    *("provider", "model", "fallback", "finish_reason", "usage"),
    *("cost_micros", "currency", "price_snapshot", "attempt", "budgets"),
)


def _whole(row: Row) -> SlmView:
    reply: str | None = row["reply"]
    if reply is None:
        return _view(row)
    if row["kind"] == SlmKind.EMBED.value:
        return _view(row, vectors=EmbeddingOutput.model_validate_json(reply).vectors)
    message = ChatMessage.model_validate_json(row["message"]) if row["message"] else None
    return _view(row, text=reply, message=message)
