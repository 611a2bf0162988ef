"""Revocations: refuse tokens before they expire, by token, client, subject or all of a tenant's."""

from __future__ import annotations

from typing import Annotated, Self

from fastapi import Query, Request
from fastapi.responses import JSONResponse
from pydantic import Field, model_validator

from api.auth import ServicesDependency, require
from api.edge_types import Comment, Name
from api.idempotency import Answer, IdempotencyKey, idempotent
from api.paging import Cursor, Limit
from api.problems import problems
from api.routing import edge_router
from api.short_runs import short_run
from domain.actors import Actor
from domain.base import Contract
from domain.ids import Prefix, format_id
from domain.names import Feature, Scope, WorkflowName
from domain.ports.idempotency import Claim
from domain.revocations import RevocationInput, RevocationKind, RevocationView

router = edge_router("identity")


class RevocationBody(Contract):
    """Which tokens: those of one `jti`, client or subject, named by `value`, or all of the tenant."""

    kind: RevocationKind
    value: Annotated[Name, Field(examples=["cli_0192f0c0d5a07c3e8f6f0e1b2c3d4e5f"])] | None = Field(
        default=None, description="The `jti`, client id or subject; left out for `all`."
    )
    reason: Comment | None = Field(default=None, examples=["The laptop was stolen."])

    @model_validator(mode="after")
    def _named(self) -> Self:
        if (self.value is None) != (self.kind is RevocationKind.ALL):
            raise ValueError("`value` names the token, client or subject, and is left out for `all`")
        return self


class RevocationPage(Contract):
    """Revocations, newest first."""

    revocations: tuple[RevocationView, ...]
    next: str | None = Field(description="Cursor of the next page; null on the last.")


@router.post(
    "/v1/revocations",
    summary="Revoke tokens",
    status_code=201,
    response_model=RevocationView,
    responses=problems(400, 401, 403, 409, 413, 415, 422, 429, 503),
)
async def revoke_tokens(
    body: RevocationBody,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.REVOCATION_WRITE)],
    key: IdempotencyKey,
) -> JSONResponse:
    """Refuses the tokens that were issued up to this second, on every gateway within a second; what runs in their name is
    refused its next step. Whoever stands may get a new one. The token at hand may be among them."""

    async def work(claim: Claim) -> Answer:
        revocation_id = format_id(Prefix.REVOCATION, claim.resource)
        reason = await services.blobs.put(actor.tenant_id, body.reason.encode()) if body.reason else None
        await short_run(
            services,
            actor,
            WorkflowName.REVOCATION_CREATE,
            Feature.REVOCATION,
            revocation_id,
            RevocationInput(revocation_id=revocation_id, actor=actor, kind=body.kind, value=body.value, reason=reason),
            type(None),
        )
        view = await services.revocations.get(actor.tenant_id, revocation_id)
        return Answer(201, view.model_dump(mode="json"), {"Location": f"/v1/revocations/{revocation_id}"})

    return await idempotent(request, services, actor, key, body, work)


@router.get("/v1/revocations", summary="List revocations", responses=problems(400, 401, 403))
async def list_revocations(
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.REVOCATION_READ)],
    kind: Annotated[RevocationKind | None, Query(description="Only those of this kind.")] = None,
    after: Cursor = None,
    limit: Limit = 50,
) -> RevocationPage:
    """The tenant's revocations, newest first."""
    found = await services.revocations.page(actor.tenant_id, kind, after, limit)
    return RevocationPage(revocations=found, next=found[-1].revocation_id if len(found) == limit else None)


@router.get("/v1/revocations/{revocation_id}", summary="Read a revocation", responses=problems(401, 403, 404))
async def read_revocation(
    revocation_id: str, services: ServicesDependency, actor: Annotated[Actor, require(Scope.REVOCATION_READ)]
) -> RevocationView:
    """Which tokens it refuses, since when, by whom and why."""
    return await services.revocations.get(actor.tenant_id, revocation_id)
