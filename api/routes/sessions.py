"""Sessions: start, send, read, cancel, close."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request
from fastapi.responses import JSONResponse

from api.auth import ServicesDependency, require
from api.idempotency import Answer, IdempotencyKey, idempotent
from api.kill_switches import require_running
from api.paging import Cursor, Limit
from api.prefer import Prefer, wait_seconds
from api.problems import problems
from api.routing import edge_router
from api.services import Services
from api.session_models import (
    MessageBody,
    SessionPage,
    SessionStarted,
    StartBody,
    Transcript,
    TurnAccepted,
    TurnStopped,
)
from api.session_start import refuse_denied, start, turn_url, with_capability
from api.workflow_calls import update
from domain.actors import Actor
from domain.errors import (
    Conflict,
    DomainError,
    IdempotencyKeyReused,
    SessionClosed,
    TooManyTurns,
)
from domain.ids import Prefix, format_id
from domain.names import Feature, Scope, UpdateName, workflow_id
from domain.ports.idempotency import Claim
from domain.sessions import (
    FINAL_TURN_STATUSES,
    CancelOutcome,
    SendOutcome,
    SendRefusal,
    SendRequest,
    SessionStatus,
    SessionView,
    TurnView,
)

router = edge_router("sessions")

START_WAIT = 30
_REFUSALS: dict[SendRefusal, DomainError] = {
    SendRefusal.CLOSED: SessionClosed("The session is closed; start a new one."),
    SendRefusal.NOT_OPEN: Conflict("The session waits for an approver; send again once it is approved."),
    SendRefusal.FULL: TooManyTurns("32 turns are queued already; wait until one is answered.", retry_after=5),
    SendRefusal.KEY_REUSED: IdempotencyKeyReused("This Idempotency-Key came with another message; use a new one."),
}


@router.post(
    "/v1/sessions/start",
    summary="Start a session",
    status_code=201,
    response_model=SessionStarted,
    responses={202: {"model": SessionStarted, "description": "An approver is waited for"}}
    | problems(400, 401, 403, 409, 413, 415, 422, 429, 503),
)
async def start_session(
    body: StartBody,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.SESSION_START)],
    key: IdempotencyKey,
    prefer: Prefer = None,
) -> JSONResponse:
    """Starts a session behind moderation and policy. With a prompt, waits for its answer for up to 30 seconds."""
    wait = wait_seconds(prefer, START_WAIT)

    async def work(claim: Claim) -> Answer:
        return await start(services, actor, key, body, claim, wait)

    return await idempotent(request, services, actor, key, body, work, with_capability(services, actor))


@router.get("/v1/sessions", summary="List sessions", responses=problems(400, 401, 403))
async def list_sessions(
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.SESSION_READ)],
    status: Annotated[SessionStatus | None, Query(description="Only those in this state.")] = None,
    after: Cursor = None,
    limit: Limit = 50,
) -> SessionPage:
    """The tenant's sessions, newest first."""
    found = await services.sessions.sessions(actor.tenant_id, status=status, after=after, limit=limit)
    return SessionPage(sessions=found, next=found[-1].session_id if len(found) == limit else None)


@router.get("/v1/sessions/{session_id}", summary="Read a session and its transcript", responses=problems(400, 401, 403, 404))
async def read_session(
    session_id: str,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.SESSION_READ)],
    after: Annotated[int, Query(ge=0, le=2**31 - 1, description="Turns after this sequence number.")] = 0,
    limit: Limit = 50,
) -> Transcript:
    """The session's state and a page of its turns, in order."""
    session = await services.sessions.session(actor.tenant_id, session_id)
    turns = await services.sessions.turns(actor.tenant_id, session_id, after=after, limit=limit)
    return Transcript(session=session, turns=turns, next=turns[-1].seq if len(turns) == limit else None)


@router.get("/v1/sessions/{session_id}/turns/{turn_id}", summary="Read a turn", responses=problems(400, 401, 403, 404))
async def read_turn(
    session_id: str,
    turn_id: str,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.SESSION_READ)],
    prefer: Prefer = None,
) -> TurnView:
    """One turn with its texts; with `Prefer: wait=N` once it has ended, or as it stands after N seconds."""
    wait = wait_seconds(prefer, 0)
    return await services.sessions.wait_turn(actor.tenant_id, session_id, turn_id, wait)


@router.post(
    "/v1/sessions/{session_id}/messages",
    summary="Send a message",
    status_code=202,
    response_model=TurnAccepted,
    responses={200: {"model": TurnAccepted, "description": "Answered within `Prefer: wait`"}}
    | problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503),
)
async def send_message(
    session_id: str,
    body: MessageBody,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.SESSION_SEND)],
    key: IdempotencyKey,
    prefer: Prefer = None,
) -> JSONResponse:
    """Queues a message behind those before it. Answers at once, or with the answer within `Prefer: wait`."""
    wait = wait_seconds(prefer, 0)
    await services.sessions.session(actor.tenant_id, session_id)

    async def work(claim: Claim) -> Answer:
        return await _send(services, actor, session_id, key, body, claim, wait)

    return await idempotent(request, services, actor, key, body, work)


@router.post(
    "/v1/sessions/{session_id}/cancel", summary="Stop the running turn", responses=problems(400, 401, 403, 404, 409, 503)
)
async def cancel_turn(
    session_id: str, services: ServicesDependency, actor: Annotated[Actor, require(Scope.SESSION_CANCEL)]
) -> TurnStopped:
    """Stops the turn that runs; queued turns go on. Answers once the turn is recorded as cancelled."""
    view = await services.sessions.session(actor.tenant_id, session_id)
    outcome = await update(services.temporal, view.workflow_id, UpdateName.CANCEL, None, CancelOutcome)
    if outcome is None:
        raise SessionClosed("The session is closed; nothing runs in it.")
    if outcome.turn_id is None:
        return TurnStopped(turn=None)
    return TurnStopped(turn=await services.sessions.turn(actor.tenant_id, session_id, outcome.turn_id))


@router.post("/v1/sessions/{session_id}/close", summary="Close a session", responses=problems(400, 401, 403, 404, 409, 503))
async def close_session(
    session_id: str, services: ServicesDependency, actor: Annotated[Actor, require(Scope.SESSION_CANCEL)]
) -> SessionView:
    """Takes no more messages; turns already taken are still answered. Closing a closed session is harmless."""
    view = await services.sessions.session(actor.tenant_id, session_id)
    if view.status is SessionStatus.AWAITING_APPROVAL:
        raise Conflict("The session waits for an approver; refuse its decision instead.")
    if view.status is SessionStatus.OPEN:
        await update(services.temporal, view.workflow_id, UpdateName.CLOSE, None, SessionStatus)
        view = await services.sessions.session(actor.tenant_id, session_id)
    return view


async def _send(
    services: Services, actor: Actor, session_id: str, key: str, body: MessageBody, claim: Claim, wait: int
) -> Answer:
    # Otherwise the turn would be taken and denied, and the same key could never get another answer.
    await require_running(services, actor, Feature.SESSION)
    await services.constitution.current()
    message = await services.blobs.put(actor.tenant_id, body.content.encode())
    sent = SendRequest(turn_id=format_id(Prefix.TURN, claim.resource), request_key=key, actor=actor, message=message)
    run = workflow_id(Feature.SESSION, actor.tenant_id, session_id)
    outcome = await update(services.temporal, run, UpdateName.SEND, sent, SendOutcome, f"send/{sent.turn_id}")
    if outcome is None:
        raise _REFUSALS[SendRefusal.CLOSED]
    if outcome.turn_id is None:
        raise _REFUSALS[outcome.refusal or SendRefusal.CLOSED]
    turn = await services.sessions.wait_turn(actor.tenant_id, session_id, outcome.turn_id, wait)
    if turn.decision is not None and turn.status in FINAL_TURN_STATUSES and turn.reply is None:
        refuse_denied(turn.decision)
    url = turn_url(session_id, turn.turn_id)
    accepted = TurnAccepted(turn=turn, turn_url=url)
    ended = turn.status in FINAL_TURN_STATUSES
    return Answer(200 if ended else 202, accepted.model_dump(mode="json"), {"Location": url})
