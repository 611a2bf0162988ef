"""Tenants: make, read, list, change, delete. The platform's own tenant does; any other may read itself, and nothing else is
there for it."""

from __future__ import annotations

import secrets
from typing import Annotated, Final, Self

from fastapi import Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field, Strict, model_validator

from api.auth import ServicesDependency, require
from api.edge_types import Name
from api.grants import check_lasting
from api.idempotency import Answer, IdempotencyKey, idempotent
from api.paging import Limit
from api.preconditions import IfMatch, etag, expected_versions
from api.problems import problems
from api.routing import edge_router
from api.services import Services
from api.short_runs import short_run
from domain.actors import Actor
from domain.base import Contract, TenantId
from domain.clients import RANDOM_BYTES, digest
from domain.errors import Conflict, NotFound
from domain.ids import Prefix, format_id
from domain.names import SYSTEM_TENANT, Feature, Scope, WorkflowName
from domain.ports.idempotency import Claim
from domain.tenants import (
    Plan,
    Region,
    TenantChangeInput,
    TenantDeletionInput,
    TenantInput,
    TenantLimits,
    TenantOutcome,
    TenantView,
)

router = edge_router("identity")

_SHOWN_ONCE: Final = "Keep the secret now: it is shown this once and stored nowhere."
_SHOWN_BEFORE: Final = (
    "The secret was shown with the first answer and is stored nowhere; if it was lost, delete the tenant and make another."
)
_WRITES: Final = problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503)

AfterTenant = Annotated[str | None, Query(pattern=r"^[a-z0-9][a-z0-9-]{0,47}$", description="`next` of the page before: an id.")]
Residency = Annotated[
    tuple[Region, ...],
    Field(max_length=32, description="Regions that may serve the tenant; empty: all.", examples=[["eu-central"]]),
]


class LimitsBody(Contract):
    """What a tenant may use. Null or left out: no limit of its own."""

    requests_per_minute: Annotated[int, Strict(), Field(ge=1, le=10_000_000)] | None = Field(default=None, examples=[6000])


class TenantBody(Contract):
    """A tenant to make."""

    tenant_id: TenantId = Field(examples=["acme"])
    name: Name = Field(examples=["Acme Ltd"])
    plan: Plan = "standard"
    limits: LimitsBody = LimitsBody()
    residency: Residency = ()


class TenantPatch(Contract):
    """What is to change; a member that is left out or null stays."""

    name: Name | None = None
    plan: Plan | None = None
    limits: LimitsBody | None = Field(default=None, description="All of them, in place of those before.")
    residency: Residency | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if self.name is None and self.plan is None and self.limits is None and self.residency is None:
            raise ValueError("Say what is to change: `name`, `plan`, `limits` or `residency`")
        return self


class MadeTenant(Contract):
    """A tenant and its first client, an admin. `client_secret` is there in the first answer alone; a replay has null and
    `note` says what to do."""

    tenant: TenantView
    client_id: str
    client_secret: str | None = Field(description="Null in a replay.", examples=["4mQ0…"])
    note: str


class TenantPage(Contract):
    """Tenants, by id."""

    tenants: tuple[TenantView, ...]
    next: str | None = Field(description="Cursor of the next page; null on the last.")


@router.post("/v1/tenants", summary="Make a tenant", status_code=201, response_model=MadeTenant, responses=_WRITES)
async def make_tenant(
    body: TenantBody,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.TENANT_WRITE)],
    key: IdempotencyKey,
) -> JSONResponse:
    """Makes a tenant with a first client, which may do everything in it, and shows that client's secret, this once."""
    _check_platform(actor)
    check_lasting(actor)
    made: list[str] = []

    async def work(claim: Claim) -> Answer:
        secret, client_id = secrets.token_urlsafe(RANDOM_BYTES), format_id(Prefix.CLIENT, claim.resource)
        tenant = TenantInput(
            tenant_id=body.tenant_id,
            actor=actor,
            name=await services.blobs.put(actor.tenant_id, body.name.encode()),
            plan=body.plan,
            limits=TenantLimits(requests_per_minute=body.limits.requests_per_minute),
            residency=tuple(dict.fromkeys(body.residency)),
            client_id=client_id,
            digest=digest(secret),
        )
        run = (WorkflowName.TENANT_CREATE, Feature.TENANT, claim.resource.hex, tenant, TenantOutcome)
        if (await short_run(services, actor, *run)).digest == tenant.digest:
            made.append(secret)
        view = await services.tenants.get(body.tenant_id)
        answer = MadeTenant(tenant=view, client_id=client_id, client_secret=None, note=_SHOWN_BEFORE)
        headers = {"Location": f"/v1/tenants/{view.tenant_id}", **etag(view.version)}
        return Answer(201, answer.model_dump(mode="json"), headers)

    async def show(answer: Answer) -> Answer:
        shown = {"client_secret": made[0], "note": _SHOWN_ONCE} if made else {}
        return Answer(answer.status, answer.body | shown, answer.headers)

    return await idempotent(request, services, actor, key, body, work, show)


@router.get("/v1/tenants", summary="List tenants", responses=problems(400, 401, 403, 404))
async def list_tenants(
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.TENANT_READ)],
    deleted: Annotated[bool | None, Query(description="Only those that are deleted, or only the others.")] = None,
    after: AfterTenant = None,
    limit: Limit = 50,
) -> TenantPage:
    """Every tenant, by id. For the platform alone."""
    _check_platform(actor)
    found = await services.tenants.page(deleted=deleted, after=after, limit=limit)
    return TenantPage(tenants=found, next=found[-1].tenant_id if len(found) == limit else None)


@router.get("/v1/tenants/{tenant_id}", summary="Read a tenant", responses=problems(400, 401, 403, 404))
async def read_tenant(
    tenant_id: TenantId,
    response: Response,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.TENANT_READ)],
) -> TenantView:
    """A tenant, and its ETag. Everybody may read their own."""
    if tenant_id != actor.tenant_id:
        _check_platform(actor)
    tenant = await services.tenants.get(tenant_id)
    response.headers.update(etag(tenant.version))
    return tenant


@router.patch(
    "/v1/tenants/{tenant_id}",
    summary="Change a tenant",
    response_model=TenantView,
    responses=_WRITES | problems(412, 428),
)
async def change_tenant(
    tenant_id: TenantId,
    body: TenantPatch,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.TENANT_WRITE)],
    key: IdempotencyKey,
    if_match: IfMatch,
) -> JSONResponse:
    """Changes name, plan, limits or residency; every gateway goes by it within a second. The platform's own tenant stays."""
    await _check_there(services, actor, tenant_id)

    async def work(claim: Claim) -> Answer:
        limits = None if body.limits is None else TenantLimits(requests_per_minute=body.limits.requests_per_minute)
        change = TenantChangeInput(
            change_id=claim.resource,
            tenant_id=tenant_id,
            actor=actor,
            name=await services.blobs.put(actor.tenant_id, body.name.encode()) if body.name is not None else None,
            plan=body.plan,
            limits=limits,
            residency=None if body.residency is None else tuple(dict.fromkeys(body.residency)),
            expected=expected_versions(if_match),
        )
        run = (WorkflowName.TENANT_CHANGE, Feature.TENANT_CHANGE, claim.resource.hex, change, type(None))
        await short_run(services, actor, *run)
        tenant = await services.tenants.get(tenant_id)
        return Answer(200, tenant.model_dump(mode="json"), etag(tenant.version))

    return await idempotent(request, services, actor, key, body, work)


@router.delete(
    "/v1/tenants/{tenant_id}", summary="Delete a tenant", status_code=204, responses=problems(400, 401, 403, 404, 409, 503)
)
async def delete_tenant(
    tenant_id: TenantId, services: ServicesDependency, actor: Annotated[Actor, require(Scope.TENANT_WRITE)]
) -> None:
    """Ends a tenant for good: within a second its tokens and API keys open nothing, what runs for it is refused its next step,
    and its clients get no tokens. What it left stays stored, and its id stays taken. Saying it again is harmless."""
    await _check_there(services, actor, tenant_id)
    deletion = TenantDeletionInput(tenant_id=tenant_id, actor=actor)
    run = (WorkflowName.TENANT_DELETE, Feature.TENANT_DELETION, tenant_id, deletion, type(None))
    await short_run(services, actor, *run)


def _check_platform(actor: Actor) -> None:
    """Raises NotFound for everybody but the platform: for them there are no other tenants."""
    if actor.tenant_id != SYSTEM_TENANT:
        raise NotFound("No tenant has that id.")


async def _check_there(services: Services, actor: Actor, tenant_id: str) -> None:
    """Raises NotFound, and Conflict for the platform's own tenant."""
    _check_platform(actor)
    await services.tenants.get(tenant_id)
    if tenant_id == SYSTEM_TENANT:
        raise Conflict("This is the platform's own tenant: it has no limits and is not deleted.")
