"""What the gate decided, and the approval of what it escalated."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from pydantic import Field

from api.auth import ServicesDependency, require
from api.edge_types import Comment
from api.paging import Cursor, Limit
from api.problems import problems
from api.routing import edge_router
from api.services import Services
from api.workflow_calls import update
from domain.actors import Actor
from domain.base import Contract
from domain.decisions import Verdict
from domain.errors import Conflict
from domain.names import Scope, UpdateName
from domain.ports.sessions import DecisionRecord
from domain.sessions import ResolveOutcome, ResolveRequest

router = edge_router("decisions")


class DecisionPage(Contract):
    """Decisions, newest first."""

    decisions: tuple[DecisionRecord, ...]
    next: str | None = Field(description="Cursor of the next page; null on the last.")


class ResolutionBody(Contract):
    """An approver's remark."""

    comment: Comment | None = Field(default=None, examples=["Checked with the data owner."])


@router.get("/v1/decisions", summary="List decisions", responses=problems(400, 401, 403))
async def list_decisions(
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.POLICY_READ)],
    waiting: Annotated[bool, Query(description="Only those that wait for an approver.")] = False,
    after: Cursor = None,
    limit: Limit = 50,
) -> DecisionPage:
    """The tenant's decisions with their verdicts, reasons and digests, newest first."""
    found = await services.sessions.decisions(actor.tenant_id, open_only=waiting, after=after, limit=limit)
    return DecisionPage(decisions=found, next=found[-1].decision.decision_id if len(found) == limit else None)


@router.get("/v1/decisions/{decision_id}", summary="Read a decision", responses=problems(401, 403, 404))
async def read_decision(
    decision_id: str, services: ServicesDependency, actor: Annotated[Actor, require(Scope.POLICY_READ)]
) -> DecisionRecord:
    """One decision, and what an approver said about it."""
    return await services.sessions.decision(actor.tenant_id, decision_id)


@router.post(
    "/v1/decisions/{decision_id}/approve", summary="Approve an escalated decision", responses=problems(400, 401, 403, 404, 409)
)
async def approve(
    decision_id: str,
    body: ResolutionBody,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.POLICY_APPROVE)],
) -> DecisionRecord:
    """Lets what was escalated go on. The first answer stands; saying the same again is harmless."""
    return await _resolve(services, actor, decision_id, body, approved=True)


@router.post(
    "/v1/decisions/{decision_id}/refuse", summary="Refuse an escalated decision", responses=problems(400, 401, 403, 404, 409)
)
async def refuse(
    decision_id: str,
    body: ResolutionBody,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.POLICY_APPROVE)],
) -> DecisionRecord:
    """Ends what was escalated. The first answer stands; saying the same again is harmless."""
    return await _resolve(services, actor, decision_id, body, approved=False)


async def _resolve(services: Services, actor: Actor, decision_id: str, body: ResolutionBody, *, approved: bool) -> DecisionRecord:
    record = await services.sessions.decision(actor.tenant_id, decision_id)
    if record.decision.verdict is not Verdict.ESCALATE:
        raise Conflict("The decision was not escalated, so there is nothing to approve or refuse.")
    if record.resolution is None:
        comment = await services.blobs.put(actor.tenant_id, body.comment.encode()) if body.comment else None
        request = ResolveRequest(actor=actor, decision_id=decision_id, approved=approved, comment=comment)
        outcome = await update(services.temporal, record.workflow_id, UpdateName.RESOLVE, request, ResolveOutcome)
        if outcome is not None and outcome.resolution is not None:
            record = await services.sessions.decision(actor.tenant_id, decision_id)
    if record.resolution is None:
        raise Conflict("The decision no longer waits for an answer.")
    if record.resolution.approved is not approved:
        raise Conflict("The decision was answered the other way before; that answer stands.")
    return record
