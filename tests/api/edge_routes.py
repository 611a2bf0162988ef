"""Routes that exist for the tests alone: each makes one thing happen behind the real edge."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, Strict
from starlette.requests import Request
from starlette.responses import JSONResponse
from temporalio.client import WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.service import RPCError, RPCStatusCode

from api.auth import ServicesDependency, require
from api.edge_types import CleanText
from api.idempotency import Answer, IdempotencyKey, idempotent
from api.routing import MIB, body_limit, edge_router
from domain.actors import Actor
from domain.errors import Denied, NotFound, TooManyTurns
from domain.names import Scope
from domain.ports.idempotency import Claim

router = edge_router("tests")
Starter = Annotated[Actor, require(Scope.SESSION_START)]


class Wish(BaseModel):
    """What a test wants to happen."""

    model_config = ConfigDict(extra="forbid")

    do: CleanText = "succeed"
    text: CleanText = ""
    number: Annotated[int, Strict()] = Field(default=0, ge=0, le=10)
    names: list[CleanText] = Field(default_factory=list)


class Work:
    """Counts how often a request was really worked on, by the resource that its key fixed."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.began = asyncio.Event()
        self.may_end = asyncio.Event()


@router.get("/test/whoami")
async def whoami(actor: Annotated[Actor, require(Scope.SESSION_READ)]) -> Actor:
    """The actor as a route sees it."""
    return actor


@router.get("/test/sessions/{session_id}")
async def of_session(session_id: str, actor: Annotated[Actor, require(Scope.SESSION_READ)]) -> dict[str, Any]:
    """A route of one session."""
    return {"session_id": session_id, "tenant": actor.tenant_id}


@router.post("/test/echo")
async def echo(body: Wish, _actor: Starter) -> Wish:
    """The body, as it was understood."""
    return body


@router.post("/test/raw", dependencies=[body_limit(2 * MIB)])
async def raw(request: Request, _actor: Starter) -> dict[str, int]:
    """The size of a body of any type, up to two MiB."""
    return {"bytes": len(await request.body())}


@router.get("/test/query")
async def query(_actor: Starter, limit: Annotated[int, Query(ge=1, le=100)]) -> dict[str, int]:
    """A bounded query parameter."""
    return {"limit": limit}


@router.get("/test/fail/{how}")
async def fail(how: str, _actor: Starter) -> None:
    """Raises."""
    match how:
        case "unexpected":
            raise RuntimeError("MARKER of our insides")
        case "gone":
            raise RPCError("MARKER", RPCStatusCode.NOT_FOUND, b"")
        case "exhausted":
            raise RPCError("MARKER", RPCStatusCode.RESOURCE_EXHAUSTED, b"")
        case "away":
            raise RPCError("MARKER", RPCStatusCode.UNAVAILABLE, b"")
        case "refused":
            raise RPCError("MARKER", RPCStatusCode.PERMISSION_DENIED, b"")
        case "slow":
            raise WorkflowUpdateRPCTimeoutOrCancelledError
        case "full":
            raise TooManyTurns("Thirty-two turns wait already.", retry_after=3.2, queued=32)
        case _:
            raise NotFound("No such failure.")


@router.post("/test/things/{thing_id}", status_code=201)
async def make(
    thing_id: str, body: Wish, key: IdempotencyKey, request: Request, actor: Starter, services: ServicesDependency
) -> JSONResponse:
    """An idempotent write."""
    work: Work = request.app.state.work

    async def do(claim: Claim) -> Answer:
        work.done.append(claim.resource.hex)
        work.began.set()
        match body.do:
            case "deny":
                raise Denied("The gate refused.", reasons=[{"checker": "policy", "code": "no"}])
            case "refuse":
                raise NotFound("No such thing.")
            case "crash":
                raise RuntimeError("MARKER")
            case "wait":
                await work.may_end.wait()
            case _:
                pass
        return Answer(201, {"id": claim.resource.hex, "thing": thing_id}, {"Location": f"/test/things/{claim.resource.hex}"})

    async def finish(answer: Answer) -> Answer:
        return Answer(answer.status, answer.body | {"fresh": len(work.done)}, answer.headers)

    return await idempotent(request, services, actor, key, body, do, finish)
