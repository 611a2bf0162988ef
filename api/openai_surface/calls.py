"""A request on OpenAI's paths as a durable one of ours: started, waited for, answered or refused.

An Idempotency-Key is optional here. Without one each HTTP request is a request of its own, so a client is told not to send it
again by itself where the first may still be worked on, or may have been paid for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from temporalio.service import RPCError

from api.context import edge_context
from api.idempotency import Answer, idempotent
from api.openai_surface.answers import withheld
from api.openai_surface.listing import Named
from api.services import Services
from api.slm_requests import admit, raise_failed, run_request
from api.workflow_calls import cancel_run
from domain.actors import Actor
from domain.base import Contract
from domain.errors import DependencyUnavailable, Forbidden
from domain.ids import Prefix, format_id
from domain.names import Feature, workflow_id
from domain.ports.idempotency import Claim
from domain.slm import ChatInput, EmbeddingInput, SlmStatus, SlmView
from runtime.ids import new_uuid

DEADLINE_SECONDS: Final = 600
"""As long as OpenAI's clients wait by themselves."""
RECORD_SECONDS: Final = 15.0
_LOOK_SECONDS: Final = 0.5
_NO_RETRY: Final = ("x-should-retry", "false")


@dataclass(frozen=True, kw_only=True)
class Call:
    """One HTTP request. `body` is what its Idempotency-Key is bound to."""

    request: Request
    services: Services
    actor: Actor
    key: str | None
    body: Contract
    meant: Named
    asked: ChatInput | EmbeddingInput
    cancel_on_disconnect: bool = False

    def run_of(self, resource: UUID) -> str:
        """The workflow's id."""
        return workflow_id(Feature.SLM, self.actor.tenant_id, format_id(Prefix.SLM_REQUEST, resource))

    def names(self, resource: UUID) -> dict[str, str]:
        """The headers that name what runs."""
        return {"Soma-Request-Id": format_id(Prefix.SLM_REQUEST, resource), "Soma-Workflow-Id": self.run_of(resource)}


async def answered(call: Call, write: Callable[[SlmView], Contract]) -> JSONResponse:
    """The whole answer. Raises whatever kept it from being one."""
    await admit(call.request, call.services, call.actor, role=call.meant.role, model=call.meant.model)
    if call.key is None:
        view = await _ended(call, new_uuid())
        return JSONResponse(write(view).model_dump(mode="json", by_alias=True))

    async def work(claim: Claim) -> Answer:
        view = await _ended(call, claim.resource)
        return Answer(200, write(view).model_dump(mode="json", by_alias=True), call.names(claim.resource))

    return await idempotent(call.request, call.services, call.actor, call.key, call.body, work)


async def started(call: Call, resource: UUID, *, stream: bool, wait: float) -> SlmView:
    """Starts the request, or finds it. Raises UnknownModel, UnsupportedByModel, DependencyUnavailable."""
    edge = edge_context(call.request).headers
    edge.update(call.names(resource))
    try:
        return await run_request(
            call.services,
            call.actor,
            asked=call.asked,
            role=call.meant.role,
            model=call.meant.model,
            resource=resource,
            wait=wait,
            deadline_seconds=DEADLINE_SECONDS,
            stream=stream,
        )
    except DependencyUnavailable:
        if call.key is None:
            edge.update([_NO_RETRY])
        raise


def settled(call: Call, view: SlmView) -> SlmView:
    """The request, when there is something to answer with. Raises why there is not, also where moderation cut it off."""
    if view.status is SlmStatus.COMPLETED or (withheld(view) and view.status is not SlmStatus.FAILED):
        return view
    where = f"GET /v1/slm/requests/{view.request_id} tells what becomes of it."
    if view.status is SlmStatus.AWAITING_APPROVAL:
        raise Forbidden(f"An approver must allow this first; {where}")
    if call.key is None and view.status is not SlmStatus.FAILED:
        edge_context(call.request).headers.update([_NO_RETRY])
    raise_failed(view)
    raise DependencyUnavailable(f"The request is still {view.status.value}; {where}")


async def stop(call: Call, resource: UUID) -> None:
    """Cancels the run behind a request whose client went away; where Temporal is away too, the run's deadline ends it."""
    with suppress(RPCError):
        await cancel_run(call.services.temporal, call.run_of(resource))


async def _ended(call: Call, resource: UUID) -> SlmView:
    work = started(call, resource, stream=False, wait=DEADLINE_SECONDS + RECORD_SECONDS)
    view = await (_unless_gone(call, resource, work) if call.cancel_on_disconnect else work)
    return settled(call, view)


async def _unless_gone(call: Call, resource: UUID, work: Awaitable[SlmView]) -> SlmView:
    """What the work gives; when the client goes away before, the run is cancelled. Raises ClientDisconnect then."""
    working = asyncio.ensure_future(work)
    try:
        while not working.done():
            await asyncio.wait({working}, timeout=_LOOK_SECONDS)
            if not working.done() and await call.request.is_disconnected():
                await stop(call, resource)
                raise ClientDisconnect
        return await working
    finally:
        working.cancel()
