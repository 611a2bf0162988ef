"""Two-key approvals: what two different people must approve before it may happen."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Query, Request
from fastapi.responses import JSONResponse
from pydantic import Field, Strict

from api.auth import ServicesDependency, require
from api.idempotency import Answer, IdempotencyKey, idempotent
from api.paging import Cursor, Limit
from api.problems import problems
from api.routing import edge_router
from api.services import Services
from api.short_runs import short_run
from domain.actors import Actor
from domain.base import Contract, Sha256
from domain.ids import Prefix, format_id
from domain.names import Feature, Scope, TwoKeyAction, WorkflowName
from domain.ports.idempotency import Claim
from domain.two_key import (
    Lifetime,
    Resource,
    TwoKeyApprovalInput,
    TwoKeyInput,
    TwoKeyState,
    TwoKeyView,
    TwoKeyWithdrawalInput,
    check_approver,
)

router = edge_router("identity")

_WRITES: Final = problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503)
Digest = Annotated[Sha256, Field(description="SHA-256, in hex, of exactly what is to happen.", examples=["ab" * 32])]


class TwoKeyBody(Contract):
    """What two people are to approve."""

    action: TwoKeyAction
    resource: Annotated[Resource, Field(examples=["ks_0192f0c0d5a07c3e8f6f0e1b2c3d4e5f"])]
    digest: Digest
    expires_in_seconds: Annotated[Lifetime, Strict()] = 3600


class ApproveBody(Contract):
    """What the approver saw: the request's digest."""

    digest: Digest


class TwoKeyPage(Contract):
    """Requests, newest first."""

    approvals: tuple[TwoKeyView, ...]
    next: str | None = Field(description="Cursor of the next page; null on the last.")


@router.post(
    "/v1/approvals", summary="Propose what two people must approve", status_code=201, response_model=TwoKeyView, responses=_WRITES
)
async def propose(
    body: TwoKeyBody,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.APPROVAL_WRITE)],
    key: IdempotencyKey,
) -> JSONResponse:
    """Asks two people to approve exactly what the digest is of. Proposing is no approval."""

    async def work(claim: Claim) -> Answer:
        approval_id = format_id(Prefix.TWO_KEY, claim.resource)
        proposal = TwoKeyInput(
            approval_id=approval_id,
            actor=actor,
            action=body.action,
            resource=body.resource,
            digest=body.digest,
            lifetime_seconds=body.expires_in_seconds,
        )
        await short_run(services, actor, WorkflowName.TWO_KEY_PROPOSE, Feature.TWO_KEY, approval_id, proposal, type(None))
        return await _answer(services, actor, approval_id, 201)

    return await idempotent(request, services, actor, key, body, work)


@router.get("/v1/approvals", summary="List what two people must approve", responses=problems(400, 401, 403))
async def list_requests(
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.APPROVAL_READ)],
    state: Annotated[TwoKeyState | None, Query(description="Only those.")] = None,
    action: Annotated[TwoKeyAction | None, Query(description="Only those of this action.")] = None,
    after: Cursor = None,
    limit: Limit = 50,
) -> TwoKeyPage:
    """The tenant's requests, newest first."""
    found = await services.people.two_key.page(actor.tenant_id, state=state, action=action, after=after, limit=limit)
    return TwoKeyPage(approvals=found, next=found[-1].approval_id if len(found) == limit else None)


@router.get("/v1/approvals/{approval_id}", summary="Read an approval request", responses=problems(401, 403, 404))
async def read_request(
    approval_id: str, services: ServicesDependency, actor: Annotated[Actor, require(Scope.APPROVAL_READ)]
) -> TwoKeyView:
    """What is to be approved, who has approved it, and whether it was used."""
    return await services.people.two_key.get(actor.tenant_id, approval_id)


@router.post("/v1/approvals/{approval_id}/approve", summary="Approve", response_model=TwoKeyView, responses=_WRITES)
async def approve(
    approval_id: str,
    body: ApproveBody,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.APPROVAL_WRITE)],
    key: IdempotencyKey,
) -> JSONResponse:
    """Approves as one of the two, for a person who logged in with several factors and acts themself. The proposer may be one.
    The same person a second time is 409."""
    await services.people.two_key.get(actor.tenant_id, approval_id)
    check_approver(actor)

    async def work(claim: Claim) -> Answer:
        approval = TwoKeyApprovalInput(change_id=claim.resource, approval_id=approval_id, actor=actor, digest=body.digest)
        names = (WorkflowName.TWO_KEY_APPROVE, Feature.TWO_KEY_APPROVAL)
        await short_run(services, actor, *names, claim.resource.hex, approval, type(None))
        return await _answer(services, actor, approval_id, 200)

    return await idempotent(request, services, actor, key, body, work)


@router.post(
    "/v1/approvals/{approval_id}/withdraw", summary="Withdraw an approval request", response_model=TwoKeyView, responses=_WRITES
)
async def withdraw(
    approval_id: str,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.APPROVAL_WRITE)],
    key: IdempotencyKey,
) -> JSONResponse:
    """Ends a request that was not used; whoever may propose may withdraw. Saying it again is harmless."""
    await services.people.two_key.get(actor.tenant_id, approval_id)

    async def work(claim: Claim) -> Answer:
        withdrawal = TwoKeyWithdrawalInput(approval_id=approval_id, actor=actor)
        names = (WorkflowName.TWO_KEY_WITHDRAW, Feature.TWO_KEY_WITHDRAWAL)
        await short_run(services, actor, *names, claim.resource.hex, withdrawal, type(None))
        return await _answer(services, actor, approval_id, 200)

    return await idempotent(request, services, actor, key, None, work)


async def _answer(services: Services, actor: Actor, approval_id: str, status: int) -> Answer:
    view = await services.people.two_key.get(actor.tenant_id, approval_id)
    return Answer(status, view.model_dump(mode="json"), {"Location": f"/v1/approvals/{approval_id}"} if status == 201 else {})
