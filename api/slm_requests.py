"""How a model request starts: judged by what models can do, stored as blobs, started as a run, read as a row.

Whoever needs a model over HTTP comes through `run_request`; the id comes from the caller's claim, so that a retry finds what an
earlier attempt started.
"""

from __future__ import annotations

import asyncio
from typing import Final, Literal
from uuid import UUID

import rfc8785
from starlette.requests import Request

from api.auth import allow, show_quota
from api.kill_switches import require_running
from api.services import Services
from api.session_start import refuse_denied
from api.workflow_calls import start_slm_request
from domain.actors import Actor
from domain.bounds import rough_bound
from domain.budgets import BudgetKey
from domain.decisions import Verdict
from domain.errors import ERRORS, Conflict, Denied, DependencyUnavailable, DomainError, NotFound, TooManyRequests, UnknownModel
from domain.fitness import Wanted, judged, profile, require_fit
from domain.ids import Prefix, format_id
from domain.models import Candidate, Capability
from domain.names import Feature, Lane, Scope, workflow_id
from domain.routing import RoutedModel
from domain.slm import PARTS, ChatInput, EmbeddingInput, SlmKind, SlmRequestInput, SlmStatus, SlmView

RECORD_SECONDS: Final = 15.0
_JSON: Final = "application/json"
_WITHHELD: Final = "The gate withheld the answer."


async def admit(request: Request, services: Services, actor: Actor, *, role: str, model: str | None) -> None:
    """Counts a model request of the tenant. Raises TooManyRequests, and InsufficientScope for a role the actor may not call.

    A capability narrowed to some roles reaches the models configured for them; a model of the caller's choice takes the whole
    `slm:call`.
    """
    allow(request, actor, Scope.SLM_CALL, role if model is None else None)
    per_minute = services.settings.tenant_model_requests_per_minute
    quota = await services.rate_limiter.take("tenant-models", actor.tenant_id, per_minute)
    if not quota.allowed:
        show_quota(request, "tenant-models", quota)
        raise TooManyRequests(
            f"This tenant made its {quota.limit} model requests of the minute; wait and try again.",
            retry_after=quota.reset_seconds,
        )


def candidate_of(model: str | None) -> Candidate | None:
    """`provider/model` as a candidate. Raises UnknownModel for anything else."""
    if model is None:
        return None
    provider, slash, name = model.partition("/")
    if not slash or not provider or not name:
        raise UnknownModel("A model is named provider/model; GET /v1/models lists what there is.")
    return Candidate(provider=provider, model=name)


def needs_of(asked: ChatInput | EmbeddingInput) -> frozenset[Capability]:
    """What the request needs a model to be able to do."""
    if isinstance(asked, EmbeddingInput):
        return frozenset({Capability.EMBEDDINGS})
    needs: set[Capability] = set()
    if asked.tools:
        needs.add(Capability.TOOLS)
    if asked.format is not None:
        needs.add(Capability.JSON_SCHEMA if asked.format.schema_ is not None else Capability.JSON_OBJECT)
    if any(message.images for message in asked.messages):
        needs.add(Capability.IMAGES)
    return frozenset(needs)


def texts_of(asked: ChatInput | EmbeddingInput) -> tuple[str, ...]:
    """Every text the caller wrote."""
    return asked.texts() if isinstance(asked, ChatInput) else asked.texts


def fitting(
    services: Services, actor: Actor, asked: ChatInput | EmbeddingInput, role: str, model: Candidate | None
) -> tuple[RoutedModel, ...]:
    """The models that may be asked, best first. Raises UnknownModel, UnsupportedByModel: nothing was asked, nothing is owed."""
    models = services.models
    size = sum(len(text.encode()) for text in texts_of(asked))
    messages, images = sizes_of(asked)
    # A token is four bytes as a rule; a request that fits only by its bound is for the vendor to judge.
    wanted = Wanted(needs_of(asked), rough_bound(size, messages, images) // 4)
    config = profile(models.catalogue, role, model, actor.tenant_id, models.mode)
    found = judged(models.catalogue, config, models.prices, wanted)
    require_fit(found, wanted)
    return tuple(model for model in found if model.unfit is None)


def sizes_of(asked: ChatInput | EmbeddingInput) -> tuple[int, int]:
    """Messages and images."""
    if isinstance(asked, EmbeddingInput):
        return len(asked.texts), 0
    return len(asked.messages), sum(len(message.images) for message in asked.messages)


async def run_request(
    services: Services,
    actor: Actor,
    *,
    asked: ChatInput | EmbeddingInput,
    role: str,
    model: str | None,
    resource: UUID,
    wait: float,
    lane: Lane = Lane.INTERACTIVE,
    keys: tuple[BudgetKey, ...] = (),
    deadline_seconds: int = 900,
    on_exhausted: Literal["stop", "ask"] = "stop",
    stream: bool = False,
) -> SlmView:
    """Starts the request of this id, or finds it, and reads its row: once it has ended, or as it stands after `wait` seconds.

    Raises UnknownModel, UnsupportedByModel, ConstitutionUnavailable, DependencyUnavailable. What became of it is the view's
    `status`; `raise_failed` makes an error of a bad end.
    """
    await require_running(services, actor, Feature.SLM)
    await services.constitution.current()
    pinned = candidate_of(model)
    fitting(services, actor, asked, role, pinned)
    whole = rfc8785.dumps(asked.model_dump(mode="json", by_alias=True))
    stored, text = await asyncio.gather(
        services.blobs.put(actor.tenant_id, whole, _JSON),
        services.blobs.put(actor.tenant_id, PARTS.join(texts_of(asked)).encode()),
    )
    messages, images = sizes_of(asked)
    chat = isinstance(asked, ChatInput)
    started = SlmRequestInput(
        request_id=format_id(Prefix.SLM_REQUEST, resource),
        actor=actor,
        kind=SlmKind.COMPLETE if chat else SlmKind.EMBED,
        role=role,
        model=pinned,
        input=stored,
        text=text,
        messages=messages,
        images=images,
        needs=tuple(sorted(needs_of(asked))),
        max_output_tokens=asked.max_output_tokens if chat else 0,
        lane=lane,
        keys=keys,
        deadline_seconds=deadline_seconds,
        on_exhausted=on_exhausted,
        stream=stream,
        region=services.settings.region,
        approval_seconds=services.settings.approval_timeout_seconds,
    )
    run = workflow_id(Feature.SLM, actor.tenant_id, started.request_id)
    await start_slm_request(services.temporal, workflow_id=run, asked=started)
    return await _read(services, actor.tenant_id, started.request_id, wait)


async def _read(services: Services, tenant_id: str, request_id: str, wait: float) -> SlmView:
    """The request once it has ended, or as it stands after that time. Raises DependencyUnavailable while it has no row."""
    try:
        if wait < RECORD_SECONDS:
            view = await services.slm.recorded(tenant_id, request_id, RECORD_SECONDS)
            if wait <= 0:
                return view
        return await services.slm.wait(tenant_id, request_id, wait)
    except NotFound:
        raise DependencyUnavailable(
            "The request is started and not recorded yet; ask again with the same Idempotency-Key.", retry_after=2
        ) from None


def raise_failed(view: SlmView) -> None:
    """Raises the error of a request that did not end well; returns for one that did, or has not ended."""
    if view.status is SlmStatus.DENIED:
        if view.decision is not None and view.decision.verdict is Verdict.DENY:
            refuse_denied(view.decision)
        raise Denied(view.error.detail if view.error else _WITHHELD, slm_request_id=view.request_id, reasons=[])
    if view.status is SlmStatus.CANCELLED:
        raise Conflict("The request was cancelled.", slm_request_id=view.request_id)
    if view.status in (SlmStatus.FAILED, SlmStatus.UNKNOWN):
        error = view.error
        kind = ERRORS.get(error.type, DomainError) if error else DomainError
        detail = error.detail if error else "The request failed; ask the operator and name the trace_id."
        raise kind(detail, slm_request_id=view.request_id, outcome=view.status.value)
