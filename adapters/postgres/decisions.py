"""Decisions: one a step, written with its events; the first writer wins and its decision is what every retry gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adapters.postgres.connection import Connection, Pool, Row, tenant_insert, tenant_transaction
from adapters.postgres.outbox import event_columns, event_of, outbox_insert
from domain.constitution import Direction, Severity
from domain.decisions import Decision, GateRequest, Resolution
from domain.errors import NotFound
from domain.event_data.decisions import ContentFlagged, DecisionRecorded
from domain.events import NewEvent
from domain.ports.sessions import DecisionRecord

_ADD = """
INSERT INTO decisions (tenant_id, decision_id, workflow_id, step_key, resource, subject, verdict, decision, snapshot, decided_at)
SELECT {tenant}, $2, $3, $4, $5, $6, $7, $8, $9, $10 {source}
ON CONFLICT (tenant_id, workflow_id, step_key) DO NOTHING
RETURNING tenant_id
"""
_INSERT = _ADD.format(tenant="$1", source="")
# The rows of `decided` are those of a first writer, so that what is written beside a decision hangs on it.
_DECIDED = f""",
decided AS ({_ADD.format(tenant="tenant_id", source="FROM tenant")}),
told AS ({outbox_insert("tenant_id", 11, beside="decided,")})
"""
_FIRST = "SELECT 1 FROM decided"
_SELECT = "SELECT decision FROM decisions WHERE tenant_id = $1 AND workflow_id = $2 AND step_key = $3"
_SEVERITIES = list(Severity)


async def insert_decision(
    connection: Connection, request: GateRequest, decision: Decision, snapshot: dict[str, Any]
) -> Decision | None:
    """Records the decision. Returns the one the step already has, or None when this one was the first."""
    if await connection.fetchval(_INSERT, request.actor.tenant_id, *_columns(request, decision, snapshot)) is not None:
        return None
    stored = await stored_decision(connection, request.actor.tenant_id, request.workflow_id, request.step_key)
    if stored is None:
        raise NotFound("The decision of this step is gone.")
    return stored


async def record_decision(
    pool: Pool,
    request: GateRequest,
    decision: Decision,
    snapshot: dict[str, Any],
    events: Sequence[NewEvent],
    beside: str = "",
    *args: object,
) -> Decision:
    """Records the decision with its events as a transaction of its own, in one round trip; the one the step then has.

    `beside` is one more common table expression that writes where `decided` has a row, such as
    `, opened AS (INSERT … SELECT … FROM decided)`; its `args` are $17 and on. Raises DependencyUnavailable.
    """
    tenant_id = request.actor.tenant_id
    values = (*_columns(request, decision, snapshot), *event_columns(events), *args)
    if await tenant_insert(pool, tenant_id, f"{_DECIDED}{beside} {_FIRST}", *values):
        return decision
    async with tenant_transaction(pool, tenant_id) as connection:
        stored = await stored_decision(connection, tenant_id, request.workflow_id, request.step_key)
    if stored is None:
        raise NotFound("The decision of this step is gone.")
    return stored


def _columns(request: GateRequest, decision: Decision, snapshot: dict[str, Any]) -> tuple[object, ...]:
    return (
        decision.decision_id,
        request.workflow_id,
        request.step_key,
        request.resource,
        request.actor.subject,
        decision.verdict.value,
        decision.model_dump(mode="json"),
        snapshot,
        decision.decided_at,
    )


async def stored_decision(connection: Connection, tenant_id: str, workflow_id: str, step_key: str) -> Decision | None:
    """The decision a step has, if any."""
    stored = await connection.fetchval(_SELECT, tenant_id, workflow_id, step_key)
    return Decision.model_validate(stored) if stored is not None else None


def decision_events(request: GateRequest, decision: Decision, snapshot: dict[str, Any]) -> list[NewEvent]:
    """The event of a decision, and the one of what moderation found."""
    events = [event_of(DecisionRecorded.of(decision, request.workflow_id, request.resource))]
    findings: list[dict[str, Any]] = snapshot.get("findings") or []
    if findings:
        worst = max((Severity(finding["severity"]) for finding in findings), key=_SEVERITIES.index)
        flagged = ContentFlagged(
            resource=request.resource,
            direction=Direction(snapshot["direction"]),
            severity=worst,
            rule_ids=tuple(sorted({finding["rule_id"] for finding in findings})),
            categories=tuple(sorted({finding["category"] for finding in findings})),
            verdict=decision.verdict,
            decision_id=decision.decision_id,
            constitution_hash=decision.constitution_hash,
        )
        events.append(event_of(flagged))
    return events


async def resolve_decision(connection: Connection, tenant_id: str, resolution: Resolution) -> Resolution | None:
    """Records the answer to an escalated decision. Returns the answer it already had, or None when this was the first."""
    row = await connection.fetchrow(
        """
        UPDATE decisions SET resolution = $3
        WHERE tenant_id = $1 AND decision_id = $2 AND resolution IS NULL RETURNING decision_id
        """,
        tenant_id,
        resolution.decision_id,
        resolution.model_dump(mode="json"),
    )
    if row is not None:
        return None
    stored = await connection.fetchval(
        "SELECT resolution FROM decisions WHERE tenant_id = $1 AND decision_id = $2", tenant_id, resolution.decision_id
    )
    if stored is None:
        raise NotFound("No decision has that id.")
    return Resolution.model_validate(stored)


def decision_record(row: Row) -> DecisionRecord:
    """A row of `decisions` as it reads."""
    return DecisionRecord(
        decision=Decision.model_validate(row["decision"]),
        workflow_id=row["workflow_id"],
        resource=row["resource"],
        subject=row["subject"],
        resolution=Resolution.model_validate(row["resolution"]) if row["resolution"] else None,
    )
