"""Model requests: queue, read, cancel, resume; the same answered at once; forecasts and roles."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Query, Request
from fastapi.responses import JSONResponse

from api import slm_bodies
from api.auth import ServicesDependency, allow, require
from api.idempotency import Answer, IdempotencyKey, idempotent
from api.paging import Cursor, Limit
from api.prefer import Prefer, wait_seconds
from api.problems import problems
from api.routing import MIB, body_limit, edge_router
from api.services import Services
from api.slm_models import CompleteBody, EmbedBody, ForecastAnswer, Queued, RequestBody, Roles, SlmPage
from api.slm_requests import admit, raise_failed, run_request
from api.workflow_calls import cancel_run, update
from domain.actors import Actor
from domain.errors import Conflict
from domain.names import Scope, UpdateName
from domain.ports.idempotency import Claim
from domain.slm import FINAL_SLM_STATUSES, ChatInput, EmbeddingInput, SlmStatus, SlmView

router = edge_router("models")

SYNC_WAIT: Final = 30
_CANCEL_WAIT: Final = 5.0
_BODY: Final = body_limit(8 * MIB)
_PROBLEMS: Final = problems(400, 401, 402, 403, 404, 409, 413, 415, 422, 429, 502, 503)


async def _run(
    services: Services, actor: Actor, body: CompleteBody | EmbedBody, asked: ChatInput | EmbeddingInput, claim: Claim, wait: float
) -> SlmView:
    return await run_request(
        services,
        actor,
        asked=asked,
        role=slm_bodies.role_of(body, asked),
        model=body.model,
        resource=claim.resource,
        wait=wait,
        lane=body.lane.lane,
        keys=await slm_bodies.budget_keys(services, actor, body),
        deadline_seconds=body.deadline_seconds,
        on_exhausted=body.on_exhausted,
        stream=isinstance(body, RequestBody) and body.stream,
    )


@router.post(
    "/v1/slm/requests",
    summary="Queue a model request",
    status_code=202,
    response_model=Queued,
    dependencies=[_BODY],
    responses=_PROBLEMS,
)
async def queue_request(
    body: RequestBody,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.SLM_CALL, of_path=False)],
    key: IdempotencyKey,
) -> JSONResponse:
    """Queues a completion, or with `texts` an embedding, and answers once the gate's decision is recorded."""
    asked = slm_bodies.asked_of(body)
    await admit(request, services, actor, role=slm_bodies.role_of(body, asked), model=body.model)

    async def work(claim: Claim) -> Answer:
        view = await _run(services, actor, body, asked, claim, 0)
        if view.status is SlmStatus.DENIED:
            raise_failed(view)
        queued = Queued(
            request_id=view.request_id,
            workflow_id=view.workflow_id,
            status=view.status,
            kind=view.kind,
            lane=view.lane,
            position=max(0, await services.slm.ahead(actor.tenant_id, view.lane) - 1),
            forecast_tokens=view.forecast_tokens,
            url=f"/v1/slm/requests/{view.request_id}",
        )
        return Answer(202, queued.model_dump(mode="json"), {"Location": queued.url})

    return await idempotent(request, services, actor, key, body, work)


@router.post(
    "/v1/slm/complete",
    summary="Ask a model",
    response_model=SlmView,
    dependencies=[_BODY],
    responses={202: {"model": SlmView, "description": "Not answered within `Prefer: wait`"}} | _PROBLEMS,
)
async def complete(
    body: CompleteBody,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.SLM_CALL, of_path=False)],
    key: IdempotencyKey,
    prefer: Prefer = None,
) -> JSONResponse:
    """Answers with the completion, waiting up to 30 seconds unless `Prefer: wait` says otherwise."""
    return await _answered(request, services, actor, key, body, prefer)


@router.post(
    "/v1/slm/embed",
    summary="Embed texts",
    response_model=SlmView,
    dependencies=[_BODY],
    responses={202: {"model": SlmView, "description": "Not answered within `Prefer: wait`"}} | _PROBLEMS,
)
async def embed(
    body: EmbedBody,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.SLM_CALL, of_path=False)],
    key: IdempotencyKey,
    prefer: Prefer = None,
) -> JSONResponse:
    """Answers with one vector a text, waiting up to 30 seconds unless `Prefer: wait` says otherwise."""
    return await _answered(request, services, actor, key, body, prefer)


async def _answered(
    request: Request, services: Services, actor: Actor, key: str, body: CompleteBody | EmbedBody, prefer: str | None
) -> JSONResponse:
    asked = slm_bodies.asked_of(body)
    wait = wait_seconds(prefer, SYNC_WAIT)
    await admit(request, services, actor, role=slm_bodies.role_of(body, asked), model=body.model)

    async def work(claim: Claim) -> Answer:
        view = await _run(services, actor, body, asked, claim, wait)
        raise_failed(view)
        ended = view.status is SlmStatus.COMPLETED
        return Answer(200 if ended else 202, view.model_dump(mode="json"), {"Location": f"/v1/slm/requests/{view.request_id}"})

    return await idempotent(request, services, actor, key, body, work)


@router.get("/v1/slm/requests", summary="List model requests", responses=problems(400, 401, 403))
async def list_requests(
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.SLM_READ)],
    status: Annotated[SlmStatus | None, Query(description="Only those in this state.")] = None,
    after: Cursor = None,
    limit: Limit = 50,
) -> SlmPage:
    """The tenant's model requests, newest first, without their answers."""
    found = await services.slm.requests(actor.tenant_id, status=status, after=after, limit=limit)
    return SlmPage(requests=found, next=found[-1].request_id if len(found) == limit else None)


@router.get("/v1/slm/requests/{request_id}", summary="Read a model request", responses=problems(400, 401, 403, 404))
async def read_request(
    request_id: str,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.SLM_READ)],
    prefer: Prefer = None,
) -> SlmView:
    """One request with its answer; with `Prefer: wait=N` once it has ended, or as it stands after N seconds."""
    view = await services.slm.request(actor.tenant_id, request_id)
    wait = wait_seconds(prefer, 0)
    return await services.slm.wait(actor.tenant_id, request_id, wait) if wait else view


@router.post(
    "/v1/slm/requests/{request_id}/cancel", summary="Cancel a model request", responses=problems(400, 401, 403, 404, 503)
)
async def cancel_request(
    request_id: str,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.SLM_CALL, of_path=False)],
) -> SlmView:
    """Stops a request, running or queued. One that has ended stays as it is. Answers once that is recorded, or after 5 s."""
    view = await services.slm.request(actor.tenant_id, request_id)
    allow(request, actor, Scope.SLM_CALL, view.role)
    if view.status in FINAL_SLM_STATUSES:
        return view
    await cancel_run(services.temporal, view.workflow_id)
    return await services.slm.ended(actor.tenant_id, request_id, _CANCEL_WAIT)


@router.post(
    "/v1/slm/requests/{request_id}/resume",
    summary="Resume a paused model request",
    responses=problems(400, 401, 403, 404, 409, 503),
)
async def resume_request(
    request_id: str,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.SLM_CALL, of_path=False)],
) -> SlmView:
    """Lets a request go on that waits for room in a budget. Without room it waits again."""
    view = await services.slm.request(actor.tenant_id, request_id)
    allow(request, actor, Scope.SLM_CALL, view.role)
    if view.status is not SlmStatus.AWAITING_BUDGET:
        raise Conflict("The request does not wait for a budget.")
    await update(services.temporal, view.workflow_id, UpdateName.RESUME, None, type(None))
    return await services.slm.request(actor.tenant_id, request_id)


@router.post(
    "/v1/slm/forecast", summary="Forecast a model call", dependencies=[_BODY], responses=problems(400, 401, 403, 404, 413, 415)
)
async def forecast_call(
    body: RequestBody, services: ServicesDependency, actor: Annotated[Actor, require(Scope.SLM_READ)]
) -> ForecastAnswer:
    """What a call would use and cost, from what calls of its role used before. Nothing is asked and nothing is kept."""
    return await slm_bodies.forecast_of(services, actor, body)


@router.get("/v1/slm/roles", summary="List model roles", responses=problems(401, 403))
async def list_roles(services: ServicesDependency, actor: Annotated[Actor, require(Scope.SLM_READ)]) -> Roles:
    """The roles a session or a request may name, and which models answer for them."""
    return slm_bodies.roles_of(services, actor)
