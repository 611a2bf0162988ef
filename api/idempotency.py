"""Writes that are safe to send again: the Idempotency-Key of a request, claimed in Postgres before any work.

Kept and replayed are answers of success and the gate's denial (`Denied`), for that decision is recorded. Every other error
releases the key: it changed nothing, or what it changed the retry finds again, because a claim that is taken over keeps the
id that the first attempt fixed. What is kept never holds a token: the route adds a fresh one in `finish`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import rfc8785
import structlog
from fastapi import Header
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse

from api.context import edge_context
from api.services import Services
from domain.actors import Actor
from domain.errors import ERRORS, Denied, DomainError
from domain.ports.idempotency import LEASE_SECONDS, Claim
from runtime.ids import new_uuid

REPLAYED: Final = "Idempotency-Replayed"
RENEW_SECONDS: Final = LEASE_SECONDS / 3

IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{1,255}$",
        description="Names this request (1 to 255 visible ASCII characters). Sent again within 24 hours with the same body, it "
        "gets the first answer and does nothing twice; with another body it is refused.",
        examples=["5f3c1f0e-7a52-4c3c-9d4e-2f1d9b0b6a11"],
    ),
]
"""`key: IdempotencyKey` on every route that writes. Without it the answer is 400 `missing-idempotency-key`."""

log = structlog.get_logger("api.idempotency")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a route answers: status, JSON body without any token, and headers such as `Location`."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict[str, str])


Work = Callable[[Claim], Awaitable[Answer]]
"""Does the work, once per claim; `claim.resource` is the UUIDv7 to use for what it makes, the same in every attempt."""

Finish = Callable[[Answer], Awaitable[Answer]]
"""Adds what must be fresh to a first or replayed answer."""


def body_digest(body: BaseModel | None, path: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON (RFC 8785) of body and path parameters.

    A member left at its default counts as not sent, so that a member added later changes no digest of an older request.
    """
    sent: Any = None if body is None else body.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return hashlib.sha256(rfc8785.dumps({"body": sent, "path": dict(path)})).hexdigest()


async def idempotent(
    request: Request, services: Services, actor: Actor, key: str, body: BaseModel | None, work: Work, finish: Finish | None = None
) -> JSONResponse:
    """Answers once per key. Raises IdempotencyKeyReused, RequestInProgress, and what `work` raises."""
    route = f"{request.method} {request.scope['route'].path}"
    claim = await services.claims.claim(actor, route, key, body_digest(body, request.path_params), new_uuid())
    if claim.status is not None:
        edge_context(request).headers[REPLAYED] = "true"
        answer = _kept(claim.status, claim.response or {})
    else:
        answer = await _first(services, actor, route, key, claim, work)
    if finish is not None:
        answer = await finish(answer)
    return JSONResponse(answer.body, answer.status, answer.headers)


async def _first(services: Services, actor: Actor, route: str, key: str, claim: Claim, work: Work) -> Answer:
    try:
        async with _lease(services, actor, route, key):
            answer = await work(claim)
    except Denied as denial:
        kept = {"error": {"type": denial.type, "detail": denial.detail, "members": denial.members}}
        await services.claims.answer(actor, route, key, denial.status, kept)
        raise
    except Exception:
        # Whether this succeeds matters little: the lease runs out by itself.
        with suppress(DomainError):
            await services.claims.release(actor, route, key)
        raise
    await services.claims.answer(actor, route, key, answer.status, {"body": answer.body, "headers": answer.headers})
    return answer


def _kept(status: int, response: dict[str, Any]) -> Answer:
    error: dict[str, Any] | None = response.get("error")
    if error is not None:
        raise ERRORS[error["type"]](error["detail"], **error["members"])
    return Answer(status, response["body"], response["headers"])


@asynccontextmanager
async def _lease(services: Services, actor: Actor, route: str, key: str) -> AsyncGenerator[None]:
    """Keeps the claim while the work goes on."""

    async def renew() -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                await services.claims.renew(actor, route, key)
            except DomainError:
                log.exception("lease.renewal.failed", route=route)

    renewal = asyncio.create_task(renew())
    try:
        yield
    finally:
        renewal.cancel()
        with suppress(asyncio.CancelledError):
            await renewal
