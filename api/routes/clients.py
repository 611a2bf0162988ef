"""Clients: make, read, list, change, rotate the secret of, disable. The gateway makes a secret, shows it once and forgets it."""

from __future__ import annotations

import secrets
from typing import Annotated, Final, Self

from fastapi import Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field, Strict, model_validator

from api.auth import ServicesDependency, require
from api.edge_types import Name
from api.grants import Capabilities, RoleNames, check_lasting
from api.idempotency import Answer, Finish, IdempotencyKey, idempotent
from api.paging import Limit
from api.preconditions import IfMatch, etag, expected_versions
from api.problems import problems
from api.routing import edge_router
from api.services import Services
from api.short_runs import short_run
from domain.actors import Actor
from domain.base import Contract
from domain.clients import (
    RANDOM_BYTES,
    ClientChangeInput,
    ClientDisablingInput,
    ClientInput,
    ClientOutcome,
    ClientRotationInput,
    ClientView,
    Overlap,
    digest,
)
from domain.grants import check_grant
from domain.ids import ClientId, Prefix, format_id
from domain.names import Feature, Scope, WorkflowName
from domain.ports.idempotency import Claim

router = edge_router("identity")

_SHOWN_ONCE: Final = "Keep the secret now: it is shown this once and stored nowhere."
_SHOWN_BEFORE: Final = "The secret was shown with the first answer and is stored nowhere; if it was lost, rotate it."
_WRITES: Final = problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503)

AfterClient = Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="`next` of the page before: an id.")]
_GIVEN: Final = "Each as the token at hand holds it, or narrower."
_ROLES_GIVEN: Final = "Roles, none of which opens more than the token at hand does."


class ClientBody(Contract):
    """A client to make: what it may do itself, and by its roles. It needs one of them."""

    name: Name = Field(examples=["billing service"])
    scopes: Capabilities = Field(default=(), description=_GIVEN, examples=[["slm:call:summarization", "slm:read"]])
    roles: RoleNames = Field(default=(), description=_ROLES_GIVEN, examples=[["viewer"]])

    @model_validator(mode="after")
    def _may_something(self) -> Self:
        if not self.scopes and not self.roles:
            raise ValueError("A client needs `scopes` or `roles`")
        return self


class ClientPatch(Contract):
    """What is to change; a member that is left out or null stays."""

    name: Name | None = None
    scopes: Capabilities | None = Field(default=None, description=f"All of them, in place of those before. {_GIVEN}")
    roles: RoleNames | None = Field(default=None, description=f"All of them, in place of those before. {_ROLES_GIVEN}")

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if self.name is None and self.scopes is None and self.roles is None:
            raise ValueError("Say what is to change: `name`, `scopes` or `roles`")
        return self


class RotationBody(Contract):
    """How the secret is rotated."""

    overlap_seconds: Annotated[Overlap, Strict()] = Field(
        default=0, description="The former secret still opens for so long.", examples=[3600]
    )


class ClientSecret(Contract):
    """A client and its new secret. `client_secret` is there in the first answer alone; a replay has null and `note` says what
    to do."""

    client: ClientView
    client_secret: str | None = Field(description="Null in a replay.", examples=["4mQ0…"])
    note: str


class ClientPage(Contract):
    """Clients, by id from the last."""

    clients: tuple[ClientView, ...]
    next: str | None = Field(description="Cursor of the next page; null on the last.")


@router.post("/v1/clients", summary="Make a client", status_code=201, response_model=ClientSecret, responses=_WRITES)
async def make_client(
    body: ClientBody,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.CLIENT_WRITE)],
    key: IdempotencyKey,
) -> JSONResponse:
    """Makes a client and shows its secret, this once. Sent again, it makes nothing and shows no secret."""
    check_lasting(actor)
    await _check_given(services, actor, body.scopes, body.roles)
    made: list[str] = []

    async def work(claim: Claim) -> Answer:
        secret = secrets.token_urlsafe(RANDOM_BYTES)
        client = ClientInput(
            client_id=format_id(Prefix.CLIENT, claim.resource),
            actor=actor,
            name=await services.blobs.put(actor.tenant_id, body.name.encode()),
            digest=digest(secret),
            scopes=tuple(dict.fromkeys(body.scopes)),
            roles=tuple(dict.fromkeys(body.roles)),
        )
        run = (WorkflowName.CLIENT_CREATE, Feature.CLIENT, client.client_id, client, ClientOutcome)
        if (await short_run(services, actor, *run)).digest == client.digest:
            made.append(secret)
        return await _answer(services, actor, client.client_id, 201)

    return await idempotent(request, services, actor, key, body, work, _showing(made))


@router.get("/v1/clients", summary="List clients", responses=problems(400, 401, 403))
async def list_clients(
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.CLIENT_READ)],
    disabled: Annotated[bool | None, Query(description="Only those that are disabled, or only the others.")] = None,
    after: AfterClient = None,
    limit: Limit = 50,
) -> ClientPage:
    """The tenant's clients, by id from the last, which is the newest of those with an id of ours."""
    found = await services.tenant_clients.page(actor.tenant_id, disabled=disabled, after=after, limit=limit)
    return ClientPage(clients=found, next=found[-1].client_id if len(found) == limit else None)


@router.get("/v1/clients/{client_id}", summary="Read a client", responses=problems(400, 401, 403, 404))
async def read_client(
    client_id: ClientId,
    response: Response,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.CLIENT_READ)],
) -> ClientView:
    """What a client may do, and its ETag; never its secret."""
    client = await services.tenant_clients.get(actor.tenant_id, client_id)
    response.headers.update(etag(client.version))
    return client


@router.patch(
    "/v1/clients/{client_id}",
    summary="Change a client",
    response_model=ClientView,
    responses=_WRITES | problems(412, 428),
)
async def change_client(
    client_id: ClientId,
    body: ClientPatch,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.CLIENT_WRITE)],
    key: IdempotencyKey,
    if_match: IfMatch,
) -> JSONResponse:
    """Changes name, scopes or roles. What a client may do is changed only by whoever may do all of it, before and after. A
    token that asks for more than is left is refused within a second."""
    await services.tenant_clients.get(actor.tenant_id, client_id)
    await _check_given(services, actor, body.scopes or (), body.roles or ())

    async def work(claim: Claim) -> Answer:
        change = ClientChangeInput(
            change_id=claim.resource,
            client_id=client_id,
            actor=actor,
            name=await services.blobs.put(actor.tenant_id, body.name.encode()) if body.name is not None else None,
            scopes=None if body.scopes is None else tuple(dict.fromkeys(body.scopes)),
            roles=None if body.roles is None else tuple(dict.fromkeys(body.roles)),
            expected=expected_versions(if_match),
        )
        run = (WorkflowName.CLIENT_CHANGE, Feature.CLIENT_CHANGE, claim.resource.hex, change, type(None))
        await short_run(services, actor, *run)
        client = await services.tenant_clients.get(actor.tenant_id, client_id)
        return Answer(200, client.model_dump(mode="json"), etag(client.version))

    return await idempotent(request, services, actor, key, body, work)


@router.post("/v1/clients/{client_id}/secret", summary="Rotate a client's secret", response_model=ClientSecret, responses=_WRITES)
async def rotate_secret(
    client_id: ClientId,
    body: RotationBody,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.CLIENT_WRITE)],
    key: IdempotencyKey,
) -> JSONResponse:
    """Gives the client another secret and shows it, this once; the former one opens for the overlap and no longer. Only for
    whoever may do all that the client may. Its tokens go on: a revocation ends them."""
    check_lasting(actor)
    check_grant(actor, (await services.tenant_clients.get(actor.tenant_id, client_id)).capabilities)
    made: list[str] = []

    async def work(claim: Claim) -> Answer:
        secret = secrets.token_urlsafe(RANDOM_BYTES)
        rotation = ClientRotationInput(
            change_id=claim.resource,
            client_id=client_id,
            actor=actor,
            digest=digest(secret),
            overlap_seconds=body.overlap_seconds,
        )
        run = (WorkflowName.CLIENT_ROTATE, Feature.CLIENT_ROTATION, claim.resource.hex, rotation, ClientOutcome)
        if (await short_run(services, actor, *run)).digest == rotation.digest:
            made.append(secret)
        return await _answer(services, actor, client_id, 200)

    return await idempotent(request, services, actor, key, body, work, _showing(made))


@router.delete(
    "/v1/clients/{client_id}", summary="Disable a client", status_code=204, responses=problems(400, 401, 403, 404, 503)
)
async def disable_client(
    client_id: ClientId, services: ServicesDependency, actor: Annotated[Actor, require(Scope.CLIENT_WRITE)]
) -> None:
    """Ends a client for good: within a second its tokens and API keys open nothing, and what runs in its name is refused its
    next step. Saying it again is harmless."""
    await services.tenant_clients.get(actor.tenant_id, client_id)
    disabling = ClientDisablingInput(client_id=client_id, actor=actor)
    run = (WorkflowName.CLIENT_DISABLE, Feature.CLIENT_DISABLING, client_id, disabling, type(None))
    await short_run(services, actor, *run)


async def _check_given(services: Services, actor: Actor, scopes: tuple[str, ...], roles: tuple[str, ...]) -> None:
    """Raises InsufficientScope for what the actor does not hold, Unprocessable for a role that is not there."""
    check_grant(actor, scopes)
    check_grant(actor, sorted(await services.roles.scopes_of(actor.tenant_id, roles)))


async def _answer(services: Services, actor: Actor, client_id: str, status: int) -> Answer:
    """The client as it stands, without the secret, as it is kept for a replay."""
    client = await services.tenant_clients.get(actor.tenant_id, client_id)
    body = ClientSecret(client=client, client_secret=None, note=_SHOWN_BEFORE)
    return Answer(status, body.model_dump(mode="json"), {"Location": f"/v1/clients/{client_id}", **etag(client.version)})


def _showing(made: list[str]) -> Finish:
    """Adds the secret to the first answer, when it is the one that was recorded."""

    async def show(answer: Answer) -> Answer:
        shown = {"client_secret": made[0], "note": _SHOWN_ONCE} if made else {}
        return Answer(answer.status, answer.body | shown, answer.headers)

    return show
