"""Budgets: set, read, list; the models that used more than their bound; and reconciling the ledger with a vendor's report."""

from __future__ import annotations

from typing import Annotated, Final, Self

from fastapi import Query, Request
from fastapi.responses import JSONResponse
from pydantic import Field, Strict, model_validator

from api.auth import ServicesDependency, require
from api.edge_types import Name
from api.idempotency import Answer, IdempotencyKey, idempotent
from api.paging import Cursor, Limit
from api.problems import problems
from api.routing import MIB, body_limit, edge_router
from api.services import Services
from api.short_runs import short_run
from domain import delegation
from domain.actors import Actor
from domain.base import Contract, Count, UtcTime
from domain.budgets import Budget, BudgetKey, BudgetScope, ModelBlock, ReviewModel, SetBudget, Unit
from domain.errors import Forbidden, InvalidRequest
from domain.ids import Prefix, format_id
from domain.names import TOKENS, Feature, Scope, WorkflowName
from domain.ports.idempotency import Claim
from domain.reconciling import MAX_LINES, ReconcileCall, Reconciled, UsageReport, VendorUsage

router = edge_router("budgets")

ScopeId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,80}$", examples=["ses_0192f0c0d5a07c3e8f6f0e1b2c3d4e5f"])]
Cap = Annotated[
    Count, Strict(), Field(description="In `unit`. What is settled and reserved never exceeds it.", examples=[1_000_000])
]
ProviderName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$", examples=["openai"])]
_WRITES: Final = problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503)


class BudgetBody(Contract):
    """A budget to make, or the new cap of the one that this scope and unit have."""

    scope: BudgetScope
    scope_id: ScopeId | None = Field(default=None, description="Of a tenant it is left out: it is the caller's own.")
    unit: Unit = Field(default=TOKENS, description="`tokens`, or a currency, whose millionths are counted.", examples=["USD"])
    cap: Cap


class CapBody(Contract):
    """A new cap."""

    cap: Cap


class BudgetPage(Contract):
    """Budgets, newest first."""

    budgets: tuple[Budget, ...]
    next: str | None = Field(description="Cursor of the next page; null on the last.")


class BlockList(Contract):
    """Models that used more than their bound, the last first; at most 200."""

    blocks: tuple[ModelBlock, ...]


class ReviewBody(Contract):
    """The model that was looked at, as its block names it."""

    provider: ProviderName
    model: Annotated[Name, Field(examples=["gpt-5-mini"])]


class ReportLine(Contract):
    """One call as the vendor billed it. `micros` are millionths of the currency the model is priced in."""

    idempotency_key: str = Field(min_length=1, max_length=300, pattern=r"^[\x20-\x7e]+$")
    input_tokens: Annotated[Count, Strict()]
    output_tokens: Annotated[Count, Strict()]
    micros: Annotated[Count, Strict()] | None = None


class ReportBody(Contract):
    """A vendor's usage report. With `since` and `until`, the unknown attempts of that time that it does not list are released."""

    provider: ProviderName
    lines: tuple[ReportLine, ...] = Field(max_length=MAX_LINES)
    since: UtcTime | None = None
    until: UtcTime | None = None
    dry_run: Annotated[bool, Strict()] = Field(default=False, description="Says what would change, and changes nothing.")

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.since is None) != (self.until is None):
            raise ValueError("`since` and `until` go together")
        return self


@router.post(
    "/v1/budgets",
    summary="Set a budget",
    status_code=201,
    response_model=Budget,
    responses={200: {"model": Budget, "description": "The cap of a budget that was there is changed"}} | _WRITES,
)
async def set_budget(
    body: BudgetBody,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.BUDGET_WRITE)],
    key: IdempotencyKey,
) -> JSONResponse:
    """Makes the budget, or changes its cap. Below what is settled and reserved it cannot go: 409."""
    budget_key = BudgetKey(scope=body.scope, scope_id=_scope_id(body, actor))

    async def work(claim: Claim) -> Answer:
        return await _set(services, actor, claim, budget_key, body.unit, body.cap, format_id(Prefix.BUDGET, claim.resource))

    return await idempotent(request, services, actor, key, body, work)


@router.patch("/v1/budgets/{budget_id}", summary="Change a cap", response_model=Budget, responses=_WRITES)
async def change_cap(
    budget_id: str,
    body: CapBody,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.BUDGET_WRITE)],
    key: IdempotencyKey,
) -> JSONResponse:
    """Changes the cap of a budget. Below what is settled and reserved it cannot go: 409."""
    found = await services.budgets.get(actor.tenant_id, budget_id)

    async def work(claim: Claim) -> Answer:
        budget_key = BudgetKey(scope=found.scope, scope_id=found.scope_id)
        return await _set(services, actor, claim, budget_key, found.unit, body.cap, budget_id)

    return await idempotent(request, services, actor, key, body, work)


@router.get("/v1/budgets", summary="List budgets", responses=problems(400, 401, 403))
async def list_budgets(
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.BUDGET_READ)],
    scope: BudgetScope | None = None,
    scope_id: Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_.:-]{1,80}$")] = None,
    after: Cursor = None,
    limit: Limit = 50,
) -> BudgetPage:
    """The tenant's budgets, newest first."""
    found = await services.budgets.page(actor.tenant_id, scope=scope, scope_id=scope_id, after=after, limit=limit)
    return BudgetPage(budgets=found, next=found[-1].budget_id if len(found) == limit else None)


@router.get("/v1/budgets/{budget_id}", summary="Read a budget", responses=problems(401, 403, 404))
async def read_budget(
    budget_id: str, services: ServicesDependency, actor: Annotated[Actor, require(Scope.BUDGET_READ)]
) -> Budget:
    """A budget as it stands."""
    return await services.budgets.get(actor.tenant_id, budget_id)


@router.get("/v1/slm/models/blocks", summary="List blocked models", responses=problems(400, 401, 403))
async def list_blocks(
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.SLM_READ)],
    reviewed: Annotated[bool, Query(description="Also those that somebody has reviewed.")] = False,
) -> BlockList:
    """Models that used more than their bound, for which budgets do not pay until somebody has reviewed that."""
    return BlockList(blocks=await services.budgets.blocks(actor.tenant_id, reviewed=reviewed))


@router.post("/v1/slm/models/blocks/review", summary="Review a blocked model", response_model=BlockList, responses=_WRITES)
async def review_block(
    body: ReviewBody,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.BUDGET_WRITE)],
    key: IdempotencyKey,
) -> JSONResponse:
    """Lets budgets pay for the model again; answers with the blocks that are left."""

    async def work(claim: Claim) -> Answer:
        review = ReviewModel(actor=actor, provider=body.provider, model=body.model)
        await short_run(services, actor, WorkflowName.MODEL_REVIEW, Feature.MODEL_REVIEW, claim.resource.hex, review, type(None))
        left = BlockList(blocks=await services.budgets.blocks(actor.tenant_id, reviewed=False))
        return Answer(200, left.model_dump(mode="json"))

    return await idempotent(request, services, actor, key, body, work)


@router.post(
    "/v1/ledger/reconciliations",
    summary="Reconcile with a vendor's report",
    response_model=Reconciled,
    dependencies=[body_limit(8 * MIB)],
    responses=_WRITES,
)
async def reconcile(
    body: ReportBody,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.BUDGET_WRITE)],
    key: IdempotencyKey,
) -> JSONResponse:
    """Settles attempts whose outcome was unknown at what the vendor billed, and says which lines nothing explains."""

    async def work(claim: Claim) -> Answer:
        report = UsageReport(lines=tuple(VendorUsage(**line.model_dump()) for line in body.lines))
        blob = await services.blobs.put(actor.tenant_id, report.model_dump_json().encode(), "application/json")
        call = ReconcileCall(
            actor=actor, provider=body.provider, report=blob, since=body.since, until=body.until, dry_run=body.dry_run
        )
        done = await short_run(
            services, actor, WorkflowName.LEDGER_RECONCILE, Feature.LEDGER_RECONCILE, claim.resource.hex, call, Reconciled
        )
        return Answer(200, done.model_dump(mode="json"))

    return await idempotent(request, services, actor, key, body, work)


async def _set(services: Services, actor: Actor, claim: Claim, key: BudgetKey, unit: str, cap: int, budget_id: str) -> Answer:
    if key in delegation.budget_keys(actor):
        raise Forbidden("A delegated token does not change the budget that it spends from; use a token of whoever delegated it.")
    change = SetBudget(change_id=claim.resource, budget_id=budget_id, actor=actor, key=key, unit=unit, cap=cap)
    budget = await short_run(services, actor, WorkflowName.BUDGET_SET, Feature.BUDGET, claim.resource.hex, change, Budget)
    made = budget.budget_id == format_id(Prefix.BUDGET, claim.resource)
    return Answer(201 if made else 200, budget.model_dump(mode="json"), {"Location": f"/v1/budgets/{budget.budget_id}"})


def _scope_id(body: BudgetBody, actor: Actor) -> str:
    """Raises InvalidRequest for a scope without an id, or a tenant that is not the caller's."""
    if body.scope is BudgetScope.TENANT:
        if body.scope_id not in (None, actor.tenant_id):
            raise InvalidRequest("A tenant sets budgets for itself alone; leave `scope_id` out.")
        return actor.tenant_id
    if body.scope_id is None:
        raise InvalidRequest(f"Name the {body.scope} with `scope_id`.")
    return body.scope_id
