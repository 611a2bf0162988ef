"""Roles: make, read, list, replace, delete. Nobody makes one that opens more than they may do themselves."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from api.auth import ServicesDependency, require
from api.grants import Capabilities
from api.idempotency import Answer, IdempotencyKey, idempotent
from api.paging import Limit
from api.preconditions import IfMatch, etag, expected_versions
from api.problems import problems
from api.routing import edge_router
from api.services import Services
from api.short_runs import short_run
from domain.actors import Actor
from domain.base import Contract
from domain.errors import Conflict
from domain.grants import check_grant
from domain.ids import Prefix, RoleId, format_id
from domain.names import Feature, Scope, WorkflowName
from domain.ports.idempotency import Claim
from domain.roles import RoleDeletionInput, RoleInput, RoleName, RoleReplacementInput, RoleView

router = edge_router("identity")

RoleCapabilities = Annotated[
    Capabilities,
    Field(
        min_length=1,
        description="Each as the token at hand holds it, or narrower.",
        examples=[["session:read", "slm:call:dialogue_reasoning"]],
    ),
]
AfterRole = Annotated[str | None, Query(pattern=r"^[a-z][a-z0-9-]{0,47}$", description="`next` of the page before: a name.")]


class RoleBody(Contract):
    """A role to make."""

    name: RoleName = Field(examples=["document-clerk"])
    capabilities: RoleCapabilities


class ReplacementBody(Contract):
    """What a role is to open from now on."""

    capabilities: RoleCapabilities


class RolePage(Contract):
    """Roles, by name."""

    roles: tuple[RoleView, ...]
    next: str | None = Field(description="Cursor of the next page; null on the last.")


@router.post(
    "/v1/roles",
    summary="Make a role",
    status_code=201,
    response_model=RoleView,
    responses=problems(400, 401, 403, 409, 413, 415, 422, 429, 503),
)
async def make_role(
    body: RoleBody,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.ROLE_WRITE)],
    key: IdempotencyKey,
) -> JSONResponse:
    """Makes a role of the tenant. Its name must not be taken, nor look like one that is."""
    check_grant(actor, body.capabilities)

    async def work(claim: Claim) -> Answer:
        role_id = format_id(Prefix.ROLE, claim.resource)
        capabilities = tuple(dict.fromkeys(body.capabilities))
        role = RoleInput(role_id=role_id, actor=actor, name=body.name, capabilities=capabilities)
        await short_run(services, actor, WorkflowName.ROLE_CREATE, Feature.ROLE, role_id, role, type(None))
        return _answer(await services.roles.get(actor.tenant_id, body.name), 201)

    return await idempotent(request, services, actor, key, body, work)


@router.get("/v1/roles", summary="List roles", responses=problems(400, 401, 403))
async def list_roles(
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.ROLE_READ)],
    built_in: Annotated[bool | None, Query(description="Only those that are built in, or only the tenant's own.")] = None,
    after: AfterRole = None,
    limit: Limit = 50,
) -> RolePage:
    """The roles that are built in and the tenant's own, by name."""
    found = await services.roles.page(actor.tenant_id, built_in=built_in, after=after, limit=limit)
    return RolePage(roles=found, next=found[-1].name if len(found) == limit else None)


@router.get("/v1/roles/{name}", summary="Read a role", responses=problems(400, 401, 403, 404))
async def read_role(
    name: RoleName, response: Response, services: ServicesDependency, actor: Annotated[Actor, require(Scope.ROLE_READ)]
) -> RoleView:
    """What a role opens, and its ETag."""
    role = await services.roles.get(actor.tenant_id, name)
    response.headers.update(etag(role.version))
    return role


@router.put(
    "/v1/roles/{name}",
    summary="Replace a role",
    response_model=RoleView,
    responses=problems(400, 401, 403, 404, 409, 412, 413, 415, 422, 428, 429, 503),
)
async def replace_role(
    name: RoleName,
    body: ReplacementBody,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.ROLE_WRITE)],
    key: IdempotencyKey,
    if_match: IfMatch,
) -> JSONResponse:
    """Changes what a role opens for everybody who has it, within a second. A role that is built in stays: 409."""
    check_grant(actor, body.capabilities)
    role_id = await _own(services, actor, name)

    async def work(claim: Claim) -> Answer:
        change = RoleReplacementInput(
            change_id=claim.resource,
            role_id=role_id,
            actor=actor,
            capabilities=tuple(dict.fromkeys(body.capabilities)),
            expected=expected_versions(if_match),
        )
        await short_run(
            services, actor, WorkflowName.ROLE_REPLACE, Feature.ROLE_REPLACEMENT, claim.resource.hex, change, type(None)
        )
        return _answer(await services.roles.get(actor.tenant_id, name), 200)

    return await idempotent(request, services, actor, key, body, work)


@router.delete("/v1/roles/{name}", summary="Delete a role", status_code=204, responses=problems(400, 401, 403, 404, 409, 503))
async def delete_role(name: RoleName, services: ServicesDependency, actor: Annotated[Actor, require(Scope.ROLE_WRITE)]) -> None:
    """Deletes a role that nobody has. One that somebody has, or that is built in, stays: 409."""
    role_id = await _own(services, actor, name)
    deletion = RoleDeletionInput(role_id=role_id, actor=actor)
    await short_run(services, actor, WorkflowName.ROLE_DELETE, Feature.ROLE_DELETION, role_id, deletion, type(None))


async def _own(services: Services, actor: Actor, name: str) -> RoleId:
    """The id of the tenant's own role of that name. Raises NotFound, Conflict for one that is built in."""
    role = await services.roles.get(actor.tenant_id, name)
    if role.role_id is None:
        raise Conflict("This role is built in, so it stays as it is; make one of your own beside it.")
    return role.role_id


def _answer(role: RoleView, status: int) -> Answer:
    headers = {"Location": f"/v1/roles/{role.name}", **etag(role.version)}
    return Answer(status, role.model_dump(mode="json"), headers)
