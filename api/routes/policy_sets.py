"""Policy sets: a tenant's own policies in numbered versions, one of which may be in force."""

from __future__ import annotations

from typing import Annotated, Final, Self

from fastapi import Query, Request
from fastapi.responses import JSONResponse
from pydantic import Field, Strict, model_validator

from activities.policy_sets import usable_faults
from api.auth import ServicesDependency, require
from api.edge_types import Name
from api.idempotency import Answer, IdempotencyKey, idempotent
from api.paging import Cursor, Limit
from api.policy_texts import PolicyText, require_usable
from api.problems import problems
from api.routing import edge_router
from api.services import Services
from api.short_runs import short_run
from domain.actors import Actor
from domain.base import Contract, Count, Sha256
from domain.ids import Prefix, format_id
from domain.names import Feature, Scope, WorkflowName
from domain.policy_sets import PolicyFault, PolicySetActivationInput, PolicySetInput, PolicySetSummary, PolicySetView
from domain.policy_templates import TemplateUse, TemplateView, render, views
from domain.ports.idempotency import Claim

router = edge_router("policies")
_WRITES: Final = problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503)


class PoliciesBody(Contract):
    """Policies as Cedar text, or as templates that render to it."""

    text: PolicyText | None = None
    templates: tuple[TemplateUse, ...] = Field(default=(), max_length=20)

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.text is None) == (not self.templates):
            raise ValueError("Send either `text` or `templates`")
        return self

    def cedar(self) -> str:
        """The text."""
        return self.text if self.text is not None else render(self.templates)


class PolicySetBody(PoliciesBody):
    """A version to make."""

    name: Annotated[Name, Field(examples=["No documents abroad"])]


class ActivationBody(Contract):
    """Which version is in force as the caller saw it."""

    expected_version: Annotated[Count, Strict()] = Field(
        description="The version in force now, 0 for none. With another one in force nothing changes: 409.", examples=[0]
    )


class Validation(Contract):
    """What is wrong with policies; `digest` covers text and schema."""

    valid: bool
    faults: tuple[PolicyFault, ...]
    text: str
    digest: Sha256


class PolicySetPage(Contract):
    """Policy sets, newest first, without their text."""

    policy_sets: tuple[PolicySetSummary, ...]
    next: str | None = Field(description="Cursor of the next page; null on the last.")


class TemplateList(Contract):
    """Every policy template."""

    templates: tuple[TemplateView, ...]


@router.get("/v1/policy-templates", summary="List policy templates", responses=problems(401, 403))
async def list_templates(_: Annotated[Actor, require(Scope.POLICY_READ)]) -> TemplateList:
    """Ready policies with parameters. `POST /v1/policy-sets/validate` shows the Cedar text of a use."""
    return TemplateList(templates=views())


@router.post("/v1/policy-sets/validate", summary="Validate policies", responses=problems(400, 401, 403, 413, 415, 429, 503))
async def validate_policies(
    body: PoliciesBody, services: ServicesDependency, _: Annotated[Actor, require(Scope.POLICY_READ)]
) -> Validation:
    """What is wrong with the policies, with line and column of each policy at fault. Nothing is kept."""
    text = body.cedar()
    faults = await usable_faults(services.policies.engine, text)
    return Validation(valid=not faults, faults=faults, text=text, digest=services.policies.engine.digest(text))


@router.post("/v1/policy-sets", summary="Make a policy set", status_code=201, response_model=PolicySetView, responses=_WRITES)
async def make_policy_set(
    body: PolicySetBody,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.POLICY_WRITE)],
    key: IdempotencyKey,
) -> JSONResponse:
    """Keeps the policies as the tenant's next version. It decides nothing until it is activated."""

    async def work(claim: Claim) -> Answer:
        text = body.cedar()
        await require_usable(services, text)
        policy_set_id = format_id(Prefix.POLICY_SET, claim.resource)
        name = await services.blobs.put(actor.tenant_id, body.name.encode())
        policies = await services.blobs.put(actor.tenant_id, text.encode())
        await short_run(
            services,
            actor,
            WorkflowName.POLICY_SET_CREATE,
            Feature.POLICY_SET,
            policy_set_id,
            PolicySetInput(policy_set_id=policy_set_id, actor=actor, name=name, policies=policies),
            type(None),
        )
        view = await services.policies.sets.get(actor.tenant_id, policy_set_id)
        return Answer(201, view.model_dump(mode="json"), {"Location": f"/v1/policy-sets/{policy_set_id}"})

    return await idempotent(request, services, actor, key, body, work)


@router.get("/v1/policy-sets", summary="List policy sets", responses=problems(400, 401, 403))
async def list_policy_sets(
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.POLICY_READ)],
    active: Annotated[bool | None, Query(description="Only the one in force, or only the others.")] = None,
    after: Cursor = None,
    limit: Limit = 50,
) -> PolicySetPage:
    """The tenant's versions, newest first."""
    found = await services.policies.sets.page(actor.tenant_id, active=active, after=after, limit=limit)
    return PolicySetPage(policy_sets=found, next=found[-1].policy_set_id if len(found) == limit else None)


@router.get("/v1/policy-sets/{policy_set_id}", summary="Read a policy set", responses=problems(401, 403, 404))
async def read_policy_set(
    policy_set_id: str, services: ServicesDependency, actor: Annotated[Actor, require(Scope.POLICY_READ)]
) -> PolicySetView:
    """A version with its Cedar text."""
    return await services.policies.sets.get(actor.tenant_id, policy_set_id)


@router.post(
    "/v1/policy-sets/{policy_set_id}/activate",
    summary="Put a policy set in force",
    response_model=PolicySetView,
    responses=_WRITES,
)
async def activate_policy_set(
    policy_set_id: str,
    body: ActivationBody,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.POLICY_WRITE)],
    key: IdempotencyKey,
) -> JSONResponse:
    """Every gate decides by it within a second, and by the constitution. An older version is activated to go back to it."""
    await services.policies.sets.get(actor.tenant_id, policy_set_id)

    async def work(claim: Claim) -> Answer:
        return await _switched(services, actor, claim, policy_set_id, active=True, expected=body.expected_version)

    return await idempotent(request, services, actor, key, body, work)


@router.post(
    "/v1/policy-sets/{policy_set_id}/deactivate",
    summary="Put a policy set out of force",
    response_model=PolicySetView,
    responses=_WRITES,
)
async def deactivate_policy_set(
    policy_set_id: str,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.POLICY_WRITE)],
    key: IdempotencyKey,
) -> JSONResponse:
    """The constitution decides alone within a second. Of one that is not in force nothing changes."""
    await services.policies.sets.get(actor.tenant_id, policy_set_id)

    async def work(claim: Claim) -> Answer:
        return await _switched(services, actor, claim, policy_set_id, active=False)

    return await idempotent(request, services, actor, key, None, work)


async def _switched(
    services: Services, actor: Actor, claim: Claim, policy_set_id: str, *, active: bool, expected: int = 0
) -> Answer:
    change = PolicySetActivationInput(
        change_id=claim.resource, actor=actor, policy_set_id=policy_set_id, active=active, expected_version=expected
    )
    await short_run(
        services, actor, WorkflowName.POLICY_SET_ACTIVATE, Feature.POLICY_SET_ACTIVATION, claim.resource.hex, change, type(None)
    )
    view = await services.policies.sets.get(actor.tenant_id, policy_set_id)
    return Answer(200, view.model_dump(mode="json"))
