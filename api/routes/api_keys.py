"""API keys: make, read, list, revoke. The gateway makes a key and forgets it: only its digest goes on from here."""

from __future__ import annotations

import secrets
from typing import Annotated, Final

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import Field, Strict

from api.auth import ServicesDependency, require
from api.edge_types import Name
from api.grants import Capabilities
from api.idempotency import Answer, IdempotencyKey, idempotent
from api.paging import Cursor, Limit
from api.problems import problems
from api.routing import edge_router
from api.services import Services
from api.short_runs import short_run
from domain import api_keys, delegation
from domain.actors import Actor
from domain.api_keys import ApiKeyInput, ApiKeyOutcome, ApiKeyRevocationInput, ApiKeyView, Lifetime
from domain.base import Contract
from domain.errors import Forbidden
from domain.grants import check_grant
from domain.ids import Prefix, format_id
from domain.names import Feature, Scope, WorkflowName
from domain.ports.idempotency import Claim

router = edge_router("identity")

_SHOWN_ONCE: Final = "Keep the key now: it is shown this once and stored nowhere."
_SHOWN_BEFORE: Final = (
    "The key was shown with the first answer and is stored nowhere; if it was lost, revoke it and make another."
)


class ApiKeyBody(Contract):
    """A key to make. It acts as the client that makes it and opens no more than the scopes named here."""

    name: Name = Field(examples=["ci pipeline"])
    scopes: Capabilities = Field(
        min_length=1, description="Each as the token at hand holds it, or narrower.", examples=[["slm:call:dialogue_reasoning"]]
    )
    expires_in_seconds: Annotated[Lifetime, Strict()] | None = Field(
        default=None, description="Null for a key that does not expire.", examples=[7_776_000]
    )


class MadeApiKey(Contract):
    """A key as it was made. `key` is there in the first answer alone; a replay has null and `note` says what to do."""

    api_key: ApiKeyView
    key: str | None = Field(description="The bearer itself; null in a replay.", examples=["soma_sk_5rV0…"])
    note: str


class ApiKeyPage(Contract):
    """Keys, newest first."""

    api_keys: tuple[ApiKeyView, ...]
    next: str | None = Field(description="Cursor of the next page; null on the last.")


@router.post(
    "/v1/api-keys",
    summary="Make an API key",
    status_code=201,
    response_model=MadeApiKey,
    responses=problems(400, 401, 403, 409, 413, 415, 422, 429, 503),
)
async def make_api_key(
    body: ApiKeyBody,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.KEY_WRITE)],
    key: IdempotencyKey,
) -> JSONResponse:
    """Makes a key of the client at hand and shows it, this once. Sent again, it makes nothing and shows no key."""
    _check(actor, body)
    made: list[str] = []

    async def work(claim: Claim) -> Answer:
        secret, view = await _make(services, actor, body, format_id(Prefix.API_KEY, claim.resource))
        made.extend(secret)
        answer = MadeApiKey(api_key=view, key=None, note=_SHOWN_BEFORE)
        return Answer(201, answer.model_dump(mode="json"), {"Location": f"/v1/api-keys/{view.key_id}"})

    async def show(answer: Answer) -> Answer:
        shown = {"key": made[0], "note": _SHOWN_ONCE} if made else {}
        return Answer(answer.status, answer.body | shown, answer.headers)

    return await idempotent(request, services, actor, key, body, work, show)


@router.get("/v1/api-keys", summary="List API keys", responses=problems(400, 401, 403))
async def list_api_keys(
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.KEY_READ)],
    after: Cursor = None,
    limit: Limit = 50,
) -> ApiKeyPage:
    """The keys of all the tenant's clients, newest first, revoked and expired ones too."""
    found = await services.api_keys.page(actor.tenant_id, after, limit)
    return ApiKeyPage(api_keys=found, next=found[-1].key_id if len(found) == limit else None)


@router.get("/v1/api-keys/{key_id}", summary="Read an API key", responses=problems(401, 403, 404))
async def read_api_key(key_id: str, services: ServicesDependency, actor: Annotated[Actor, require(Scope.KEY_READ)]) -> ApiKeyView:
    """What is known of a key; never the key itself."""
    return await services.api_keys.get(actor.tenant_id, key_id)


@router.post("/v1/api-keys/{key_id}/revoke", summary="Revoke an API key", responses=problems(401, 403, 404, 503))
async def revoke_api_key(
    key_id: str, services: ServicesDependency, actor: Annotated[Actor, require(Scope.KEY_WRITE)]
) -> ApiKeyView:
    """Ends a key for good: within a second it opens nothing, and what runs in its name is refused its next step. Saying it
    again is harmless."""
    await services.api_keys.get(actor.tenant_id, key_id)
    await short_run(
        services,
        actor,
        WorkflowName.API_KEY_REVOKE,
        Feature.API_KEY_REVOCATION,
        key_id,
        ApiKeyRevocationInput(key_id=key_id, actor=actor),
        type(None),
    )
    return await services.api_keys.get(actor.tenant_id, key_id)


def _check(actor: Actor, body: ApiKeyBody) -> None:
    """Raises Forbidden for a key made with a key or a delegated token, InsufficientScope for what the actor lacks."""
    if delegation.is_delegated(actor):
        raise Forbidden("A delegated token makes no API keys, which would outlive it; use an access token of the client's own.")
    if api_keys.key_of(actor) is not None:
        raise Forbidden("An API key makes no further keys, which would outlive its end; use an access token of the client.")
    check_grant(actor, body.scopes)


async def _make(services: Services, actor: Actor, body: ApiKeyBody, key_id: str) -> tuple[list[str], ApiKeyView]:
    """The key that was recorded, and how it reads. Without the key when an earlier attempt recorded its own, which nobody saw."""
    key = api_keys.written(secrets.token_urlsafe(api_keys.RANDOM_BYTES))
    name = await services.blobs.put(actor.tenant_id, body.name.encode())
    outcome = await short_run(
        services,
        actor,
        WorkflowName.API_KEY_CREATE,
        Feature.API_KEY,
        key_id,
        ApiKeyInput(
            key_id=key_id,
            actor=actor,
            name=name,
            key_sha256=api_keys.digest(key),
            hint=api_keys.hint(key),
            scopes=tuple(dict.fromkeys(body.scopes)),
            lifetime_seconds=body.expires_in_seconds,
        ),
        ApiKeyOutcome,
    )
    ours = outcome.key_sha256 == api_keys.digest(key)
    return [key] if ours else [], await services.api_keys.get(actor.tenant_id, key_id)
