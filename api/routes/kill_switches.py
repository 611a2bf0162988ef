"""Kill switches: stop at once, watch until everything is quiet, and read the signed statement of it.

Engaging is one transaction in Postgres, so that it works while Temporal is away; a workflow ends the runs and states what was
done. Where none can be started now the platform's sweep starts it.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final, Self

import structlog
from fastapi import Query, Request
from fastapi.responses import JSONResponse
from pydantic import Field, StringConstraints, model_validator
from temporalio.exceptions import TemporalError
from temporalio.service import RPCError

from api.auth import ServicesDependency, require
from api.edge_types import Comment
from api.idempotency import Answer, IdempotencyKey, idempotent
from api.paging import Cursor, Limit
from api.problems import problems
from api.routing import edge_router
from api.services import Services
from api.workflow_calls import start_enforcement
from domain.actors import Actor
from domain.base import Contract, TenantId
from domain.errors import DependencyUnavailable, Forbidden
from domain.ids import Prefix, format_id
from domain.kill_switches import (
    NAMELESS_SCOPES,
    PLATFORM_SCOPES,
    EnforceCall,
    KillSwitchInput,
    KillSwitchScope,
    KillSwitchState,
    KillSwitchView,
    may_engage,
)
from domain.names import SYSTEM_TENANT, Scope
from domain.ports.idempotency import Claim

START_SECONDS: Final = 2.0
"""How long the request waits for Temporal to take the enforcement; the sweep starts it otherwise."""
LONGEST_LIFE_SECONDS: Final = 366 * 86_400

router = edge_router("governance")
log = structlog.get_logger("api.kill_switches")

Value = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:@/-]{0,127}$")]


class KillSwitchBody(Contract):
    """What to stop. `value` names the region, user, capsule, provider, tool or feature; it is left out for `all` and `tenant`."""

    scope: KillSwitchScope = Field(examples=["provider"])
    value: Value | None = Field(default=None, examples=["openai"])
    tenant_id: TenantId | None = Field(
        default=None,
        description="The tenant that is meant, for the platform's operators; left out by them, every one.",
    )
    reason: Annotated[Comment, StringConstraints(min_length=1)] = Field(examples=["The agent mails customers on its own."])
    expires_in_seconds: int | None = Field(
        default=None, ge=1, le=LONGEST_LIFE_SECONDS, strict=True, description="Null for one that stays until it is released."
    )

    @model_validator(mode="after")
    def _named(self) -> Self:
        if (self.value is None) != (self.scope in NAMELESS_SCOPES):
            raise ValueError("`value` names what the scope means, and is left out for `all` and `tenant`")
        return self


class KillSwitchPage(Contract):
    """Switches, newest first."""

    kill_switches: tuple[KillSwitchView, ...]
    next: str | None = Field(description="Cursor of the next page; null on the last.")


@router.post(
    "/v1/kill-switches",
    summary="Engage a kill switch",
    status_code=201,
    response_model=KillSwitchView,
    responses=problems(400, 401, 403, 409, 413, 415, 422, 429, 503),
)
async def engage_kill_switch(
    body: KillSwitchBody,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.KILLSWITCH_ENGAGE)],
    key: IdempotencyKey,
) -> JSONResponse:
    """Stops at once: no effect that is meant begins more than a second after this answer. Runs that are meant are then ended;
    new work gets 503 until the switch expires or two people release it."""
    target = _target(actor, body)

    async def work(claim: Claim) -> Answer:
        switch_id = format_id(Prefix.KILL_SWITCH, claim.resource)
        await services.kill_switches.engage(
            KillSwitchInput(
                switch_id=switch_id,
                actor=actor,
                scope=body.scope,
                value=body.value,
                target_tenant=target,
                reason=body.reason,
                lifetime_seconds=body.expires_in_seconds,
            )
        )
        log.warning("kill_switch.engaged", switch=switch_id, scope=body.scope.value, tenant=actor.tenant_id)
        await _enforce(services, EnforceCall(tenant_id=actor.tenant_id, switch_id=switch_id))
        view = await services.kill_switches.get(actor.tenant_id, switch_id)
        return Answer(201, view.model_dump(mode="json"), {"Location": f"/v1/kill-switches/{switch_id}"})

    return await idempotent(request, services, actor, key, body, work)


@router.get("/v1/kill-switches", summary="List kill switches", responses=problems(400, 401, 403))
async def list_kill_switches(
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.KILLSWITCH_READ)],
    state: Annotated[KillSwitchState | None, Query(description="Only those in this state.")] = None,
    after: Cursor = None,
    limit: Limit = 50,
) -> KillSwitchPage:
    """The tenant's own switches, and those of the platform that mean it; newest first."""
    found = await services.kill_switches.page(actor.tenant_id, state, after, limit)
    return KillSwitchPage(kill_switches=found, next=found[-1].switch_id if len(found) == limit else None)


@router.get("/v1/kill-switches/{switch_id}", summary="Read a kill switch", responses=problems(401, 403, 404))
async def read_kill_switch(
    switch_id: str, services: ServicesDependency, actor: Annotated[Actor, require(Scope.KILLSWITCH_READ)]
) -> KillSwitchView:
    """What it stops, by whom and why, and how far ending the runs has come. `stated_at` is set once everything is quiet."""
    return await services.kill_switches.get(actor.tenant_id, switch_id)


@router.get(
    "/v1/kill-switches/{switch_id}/statement", summary="Read a kill switch's statement", responses=problems(401, 403, 404)
)
async def read_statement(
    switch_id: str, services: ServicesDependency, actor: Annotated[Actor, require(Scope.KILLSWITCH_READ)]
) -> dict[str, Any]:
    """The signed statement (a DSSE envelope that holds an in-toto statement): which runs were ended, what was in flight and what
    became of it, silence and stillness. 404 until everything is quiet; the platform's own are read by its operators alone."""
    return await services.kill_switches.envelope(actor.tenant_id, switch_id)


def _target(actor: Actor, body: KillSwitchBody) -> str | None:
    """The tenant that is meant; None for every one. Raises Forbidden."""
    named = body.tenant_id if actor.tenant_id == SYSTEM_TENANT else (body.tenant_id or actor.tenant_id)
    if not may_engage(body.scope, actor.tenant_id, named):
        if body.scope is KillSwitchScope.TENANT and actor.tenant_id == SYSTEM_TENANT:
            raise Forbidden("Name the tenant in `tenant_id`; a switch for every tenant has the scope `all`.")
        platform = body.scope in PLATFORM_SCOPES
        what = f"The scope {body.scope.value} is" if platform else "Another tenant's switches are"
        raise Forbidden(f"{what} for the platform's operators; a tenant stops its own work with the other scopes.")
    return named


async def _enforce(services: Services, call: EnforceCall) -> None:
    """Starts ending the runs. The switch stops without it, so a Temporal that is away is no error here."""
    try:
        async with asyncio.timeout(START_SECONDS):
            await start_enforcement(services.temporal, call, services.settings.region)
    except (RPCError, TemporalError, DependencyUnavailable, TimeoutError) as error:
        log.warning("kill_switch.enforcement.delayed", switch=call.switch_id, error=type(error).__name__)
