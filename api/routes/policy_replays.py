"""Replays: recorded decisions are asked again, by the policies they were taken by or by others."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Final, Self

from fastapi import Query, Request
from fastapi.responses import JSONResponse
from pydantic import Field, model_validator

from api.auth import ServicesDependency, require
from api.idempotency import Answer, IdempotencyKey, idempotent
from api.paging import Cursor, Limit
from api.policy_texts import WhatIf, candidates
from api.problems import problems
from api.routing import edge_router
from api.services import Services
from api.workflow_calls import cancel_run, start_policy_replay
from domain.actors import Actor
from domain.base import Contract, UtcTime
from domain.errors import Conflict
from domain.ids import Prefix, format_id
from domain.names import Feature, Scope, workflow_id
from domain.policy_replays import (
    PolicyReplayInput,
    PolicyReplayView,
    ReplayedChange,
    ReplayPart,
    ReplayStatus,
    Skipped,
)
from domain.ports.idempotency import Claim

router = edge_router("policies")
_CANCEL_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.1


class ReplayBody(Contract):
    """Which decisions, and by which policies; by those they were taken by where `what_if` is left out."""

    since: UtcTime | None = Field(default=None, description="Decided then or later; all without it.")
    until: UtcTime | None = Field(default=None, description="Decided before then; now without it.")
    what_if: WhatIf | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise ValueError("`since` lies before `until`")
        return self


class ReplayPage(Contract):
    """Replays, newest first."""

    replays: tuple[PolicyReplayView, ...]
    next: str | None = Field(description="Cursor of the next page; null on the last.")


class ChangePage(Contract):
    """Decisions that would be others, oldest first; the first 10,000 are kept."""

    changes: tuple[ReplayedChange, ...]
    next: str | None = Field(description="Cursor of the next page; null on the last.")


class SkippedPage(Contract):
    """Decisions that cannot be asked again, oldest first; the first 10,000 are kept."""

    skipped: tuple[Skipped, ...]
    next: str | None = Field(description="Cursor of the next page; null on the last.")


@router.post(
    "/v1/policy/replays",
    summary="Replay decisions",
    status_code=202,
    response_model=PolicyReplayView,
    responses=problems(400, 401, 403, 409, 413, 415, 422, 429, 503),
)
async def start_replay(
    body: ReplayBody,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.POLICY_READ)],
    key: IdempotencyKey,
) -> JSONResponse:
    """Starts to ask the tenant's recorded decisions again. It runs by itself and may be watched and cancelled; no decision is
    changed."""

    async def work(claim: Claim) -> Answer:
        replay_id = format_id(Prefix.POLICY_REPLAY, claim.resource)
        others = None
        if body.what_if is not None:
            text = (await candidates(services, body.what_if)).model_dump_json()
            others = await services.blobs.put(actor.tenant_id, text.encode(), "application/json")
        asked = PolicyReplayInput(
            replay_id=replay_id,
            actor=actor,
            candidates=others,
            since=body.since,
            until=body.until or datetime.now(UTC),
        )
        name = workflow_id(Feature.POLICY_REPLAY, actor.tenant_id, replay_id)
        await start_policy_replay(services.temporal, workflow_id=name, asked=asked, region=services.settings.region)
        view = await services.policies.replays.get(actor.tenant_id, replay_id)
        return Answer(202, view.model_dump(mode="json"), {"Location": f"/v1/policy/replays/{replay_id}"})

    return await idempotent(request, services, actor, key, body, work)


@router.get("/v1/policy/replays", summary="List replays", responses=problems(400, 401, 403))
async def list_replays(
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.POLICY_READ)],
    status: Annotated[ReplayStatus | None, Query(description="Only those that stand so.")] = None,
    after: Cursor = None,
    limit: Limit = 50,
) -> ReplayPage:
    """The tenant's replays, newest first."""
    found = await services.policies.replays.page(actor.tenant_id, status=status, after=after, limit=limit)
    return ReplayPage(replays=found, next=found[-1].replay_id if len(found) == limit else None)


@router.get("/v1/policy/replays/{replay_id}", summary="Read a replay", responses=problems(401, 403, 404))
async def read_replay(
    replay_id: str, services: ServicesDependency, actor: Annotated[Actor, require(Scope.POLICY_READ)]
) -> PolicyReplayView:
    """How far it is, and what it has counted until now."""
    return await services.policies.replays.get(actor.tenant_id, replay_id)


@router.get("/v1/policy/replays/{replay_id}/changes", summary="Changed decisions", responses=problems(400, 401, 403, 404, 409))
async def list_changes(
    replay_id: str,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.POLICY_READ)],
    after: Cursor = None,
    limit: Limit = 50,
) -> ChangePage:
    """Each decision that would be another: what it was and what it would be, by which policies. 409 while the replay runs."""
    found = [each for each in (await _result(services, actor, replay_id)).changes if after is None or each.decision_id > after]
    page = tuple(found[:limit])
    return ChangePage(changes=page, next=page[-1].decision_id if len(page) == limit else None)


@router.get("/v1/policy/replays/{replay_id}/skipped", summary="Skipped decisions", responses=problems(400, 401, 403, 404, 409))
async def list_skipped(
    replay_id: str,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.POLICY_READ)],
    after: Cursor = None,
    limit: Limit = 50,
) -> SkippedPage:
    """Each decision that cannot be asked again, and why. 409 while the replay runs."""
    found = [each for each in (await _result(services, actor, replay_id)).skipped if after is None or each.decision_id > after]
    page = tuple(found[:limit])
    return SkippedPage(skipped=page, next=page[-1].decision_id if len(page) == limit else None)


@router.post("/v1/policy/replays/{replay_id}/cancel", summary="Cancel a replay", responses=problems(401, 403, 404, 503))
async def cancel_replay(
    replay_id: str, services: ServicesDependency, actor: Annotated[Actor, require(Scope.POLICY_READ)]
) -> PolicyReplayView:
    """Stops it; what it found until then is kept. Of one that has ended nothing changes."""
    view = await services.policies.replays.get(actor.tenant_id, replay_id)
    if view.status is ReplayStatus.RUNNING:
        await cancel_run(services.temporal, view.workflow_id)
    deadline = asyncio.get_running_loop().time() + _CANCEL_SECONDS
    while view.status is ReplayStatus.RUNNING and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(_LOOK_SECONDS)
        view = await services.policies.replays.get(actor.tenant_id, replay_id)
    return view


async def _result(services: Services, actor: Actor, replay_id: str) -> ReplayPart:
    view = await services.policies.replays.get(actor.tenant_id, replay_id)
    if view.result_sha256 is None:
        raise Conflict("The replay still runs; read what it found once it has ended.")
    return ReplayPart.model_validate_json(await services.blobs.get(actor.tenant_id, view.result_sha256))
