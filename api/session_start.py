"""How a session starts: blobs first, then one update-with-start, then the turn's row is waited for.

The claim on the Idempotency-Key fixed the session's id, so whatever an attempt left behind, the next one finds.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

import rfc8785

from api.idempotency import Answer, Finish
from api.kill_switches import require_running
from api.services import Services
from api.session_models import CapabilityToken, SessionStarted, StartBody
from api.workflow_calls import start_session
from domain import delegation
from domain.actors import Actor
from domain.capabilities import narrowed
from domain.decisions import Decision, ReasonCode, Verdict
from domain.errors import ConstitutionUnavailable, Denied, NotFound, StoppedByKillSwitch, Unprocessable
from domain.ids import Prefix, format_id
from domain.names import Feature, Scope, workflow_id
from domain.ports.idempotency import Claim
from domain.sessions import SessionInput, SessionStatus, StartOutcome, TurnStatus, TurnView
from runtime.ids import new_uuid

_JSON: Final = "application/json"
CAPABILITY_SCOPES = (Scope.SESSION_READ, Scope.SESSION_SEND, Scope.SESSION_CANCEL, Scope.EVENT_READ)


async def start(services: Services, actor: Actor, key: str, body: StartBody, claim: Claim, wait: int) -> Answer:
    """Starts the session of this claim, or finds it. Raises Denied, ConstitutionUnavailable, Unprocessable."""
    await require_running(services, actor, Feature.SESSION)
    await services.constitution.current()
    session = await _input(services, actor, key, body, claim)
    run = workflow_id(Feature.SESSION, actor.tenant_id, session.session_id)
    started = await start_session(services.temporal, workflow_id=run, session=session, update_id=f"start/{session.session_id}")
    outcome, run_id = started if started is not None else await _closed(services, session)
    refuse_denied(outcome.decision)
    turn = None
    if session.first_turn and outcome.status is SessionStatus.OPEN:
        turn = await services.sessions.wait_turn(actor.tenant_id, session.session_id, session.first_turn, wait)
    answer = _answer(services, session, run, run_id, outcome, turn)
    waiting = outcome.status is SessionStatus.AWAITING_APPROVAL
    location = f"/v1/sessions/{session.session_id}"
    return Answer(202 if waiting else 201, answer.model_dump(mode="json"), {"Location": location})


def refuse_denied(decision: Decision) -> None:
    """Raises Denied with the decision and its reasons; ConstitutionUnavailable or StoppedByKillSwitch when that is the reason."""
    if decision.verdict is not Verdict.DENY:
        return
    if any(reason.code == ReasonCode.CONSTITUTION_UNAVAILABLE for reason in decision.reasons):
        raise ConstitutionUnavailable("No constitution that verifies is to be had; ask the operator, then use a new key.")
    if any(reason.code == ReasonCode.KILL_SWITCH for reason in decision.reasons):
        raise StoppedByKillSwitch("A kill switch was engaged when this was decided; once it is released, use a new key.")
    raise Denied(
        "The gate refused this; see `reasons`.",
        reasons=[reason.model_dump() for reason in decision.reasons],
        decision=decision.model_dump(mode="json"),
    )


def with_capability(services: Services, actor: Actor) -> Finish:
    """Adds a fresh token for the session to the answer, unless it waits for an approver."""

    async def finish(answer: Answer) -> Answer:
        if answer.body["status"] != SessionStatus.OPEN:
            return answer
        of_session = (narrowed(scope, actor.scopes, answer.body["session_id"]) for scope in CAPABILITY_SCOPES)
        scopes = tuple(capability for capability in of_session if capability is not None)
        made = await _capability(services, actor, answer.body["session_id"], scopes)
        if made is None:
            return answer
        capability = CapabilityToken(access_token=made[0], expires_in=made[1], scope=" ".join(scopes))
        return Answer(answer.status, answer.body | {"capability": capability.model_dump()}, answer.headers)

    return finish


async def _capability(services: Services, actor: Actor, session_id: str, scopes: tuple[str, ...]) -> tuple[str, int] | None:
    """The token and its lifetime in seconds. One made from a delegated token keeps its chain and its bounds; None when that
    token expires meanwhile."""
    longest = services.settings.token_lifetime_seconds
    if delegation.is_delegated(actor):
        now = datetime.fromtimestamp(int(time.time()), UTC)
        if actor.expires_at is not None and actor.expires_at <= now:
            return None
        bound = delegation.bound_to_session(actor, session_id, scopes, new_uuid().hex, now, longest)
        return services.tokens.sign(bound), delegation.lifetime(bound)
    constitution = await services.constitution.refreshed()
    return services.tokens.mint(
        tenant_id=actor.tenant_id,
        subject=actor.subject,
        client_id=actor.client_id,
        scopes=scopes,
        constitution_hash=constitution.hash,
        claims={"session_id": session_id} | ({"key_id": actor.key_id} if actor.key_id else {}),
    )


async def _input(services: Services, actor: Actor, key: str, body: StartBody, claim: Claim) -> SessionInput:
    size = 0
    for document_id in body.documents:
        try:
            document = await services.documents.get(actor.tenant_id, document_id)
        except NotFound:
            raise Unprocessable(f"There is no document {document_id}; add it first, or leave it out.") from None
        size += document.bytes
    prompt = await services.blobs.put(actor.tenant_id, body.prompt.encode()) if body.prompt is not None else None
    metadata = await services.blobs.put(actor.tenant_id, rfc8785.dumps({**body.metadata}), _JSON) if body.metadata else None
    settings = services.settings
    return SessionInput(
        session_id=format_id(Prefix.SESSION, claim.resource),
        actor=actor,
        request_key=key,
        prompt=prompt,
        first_turn=format_id(Prefix.TURN, claim.resource) if prompt else None,
        documents=body.documents,
        document_bytes=size,
        persona=body.persona,
        model_role=body.model_role,
        region=settings.region,
        idle_seconds=settings.session_idle_seconds,
        approval_seconds=settings.approval_timeout_seconds,
        metadata=metadata,
    )


async def _closed(services: Services, session: SessionInput) -> tuple[StartOutcome, str]:
    """What a session that has closed already was answered with, from its row."""
    view = await services.sessions.session(session.actor.tenant_id, session.session_id)
    refused = view.resolution is not None and not view.resolution.approved
    decision = view.decision.model_copy(update={"verdict": Verdict.DENY}) if refused else view.decision
    return StartOutcome(decision=decision, status=view.status, turn_id=session.first_turn), view.run_id or ""


def _answer(
    services: Services, session: SessionInput, run: str, run_id: str, outcome: StartOutcome, turn: TurnView | None
) -> SessionStarted:
    completed = turn is not None and turn.status is TurnStatus.COMPLETED
    return SessionStarted(
        session_id=session.session_id,
        workflow_id=run,
        run_id=run_id,
        status=outcome.status,
        decision=outcome.decision,
        turn_id=session.first_turn,
        turn_url=turn_url(session.session_id, session.first_turn) if session.first_turn else None,
        turn_status=turn.status if turn else None,
        reply=turn.reply if turn and completed else None,
        model=turn.model if turn and completed else None,
        temporal_url=temporal_url(services, run, run_id),
    )


def turn_url(session_id: str, turn_id: str) -> str:
    """Where a turn is read."""
    return f"/v1/sessions/{session_id}/turns/{turn_id}"


def temporal_url(services: Services, run: str, run_id: str) -> str | None:
    """The run in Temporal's web UI, where one is configured."""
    base = services.settings.temporal_ui_url.rstrip("/")
    if not base:
        return None
    namespace = services.temporal.namespace
    return f"{base}/namespaces/{quote(namespace, safe='')}/workflows/{quote(run, safe='')}/{run_id}/history"
