"""One turn of a session: ask the gate, recall, call the model, review the answer, remember.

What cannot be had is said, not hidden: without memory a turn goes on and carries a warning; without a model it fails
with the error's type.
"""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from domain.decisions import Decision, Facts, GateRequest, Verdict
from domain.ids import Prefix
from domain.memory import RecallCall, RecallOutcome, RememberCall, Remembered
from domain.models import SlmAnswer, SlmCall
from domain.names import ActivityName, Effect
from domain.sessions import (
    OpenTurnCall,
    ReviewCall,
    RunTurnCall,
    SessionInput,
    Turn,
    TurnResult,
    TurnStatus,
    TurnWarning,
)
from domain.slm import PlanCall
from workflows.approvals import Approvals
from workflows.gate import Permit, ask, new_id
from workflows.model_calls import ModelFailed, call_model, plan, turn_error
from workflows.options import MEMORY, MODEL, RECORD
from workflows.patches import MODEL_ROUTING

TURN_EFFECTS = (Effect.TURN_ANSWER, Effect.MEMORY_RECALL, Effect.MODEL_CALL, Effect.MEMORY_REMEMBER)


def question(session: SessionInput, turn: Turn, step_key: str) -> GateRequest:
    """What the gate is asked about a turn, or about its answer."""
    return ask(
        turn.actor,
        step_key=step_key,
        effects=TURN_EFFECTS,
        resource=session.session_id,
        text=turn.message,
        facts=Facts(
            text_bytes=turn.message.size,
            documents=len(session.documents),
            document_bytes=session.document_bytes,
            turn=turn.seq,
            persona=session.persona or "",
            model_role=session.model_role,
        ),
        region=session.region,
    )


async def decide(session: SessionInput, turn: Turn) -> Decision:
    """The recorded decision on a turn."""
    call = OpenTurnCall(
        session_id=session.session_id,
        turn=turn,
        request=question(session, turn, f"turn/{turn.turn_id}"),
        decision_id=new_id(Prefix.DECISION),
    )
    return await workflow.execute_local_activity(
        ActivityName.TURN_OPEN.value, call, result_type=Decision, summary="Decide on the turn", **RECORD
    )


async def run_approved(session: SessionInput, turn: Turn) -> None:
    """Records that a turn runs whose decision was taken before."""
    await workflow.execute_local_activity(
        ActivityName.TURN_RUN.value,
        RunTurnCall(tenant_id=turn.actor.tenant_id, session_id=session.session_id, turn_id=turn.turn_id),
        summary="Record that the turn runs",
        **RECORD,
    )


async def answer(session: SessionInput, turn: Turn, permit: Permit, approvals: Approvals) -> TurnResult:
    """Answers a permitted turn. Raises the cancellation of a turn that is stopped; every other end is a result."""
    warnings: list[TurnWarning] = []
    recalled = RecallOutcome()
    recall = RecallCall(actor=turn.actor, session_id=session.session_id, turn_id=turn.turn_id, message=permit.text)
    try:
        recalled = await permit.run(Effect.MEMORY_RECALL, ActivityName.MEMORY_RECALL, recall, RecallOutcome, MEMORY, "Recall")
    except ActivityError as error:
        _raise_if_cancelled(error)
        warnings.append(TurnWarning.NOT_RECALLED)
    try:
        said = await _ask(session, turn, permit, recalled)
    except ModelFailed as failure:
        return TurnResult(status=TurnStatus.FAILED, error=failure.error)
    review = await _review(session, turn, said)
    if review.verdict is Verdict.ESCALATE and await approvals.granted(review):
        await run_approved(session, turn)
    elif review.verdict in (Verdict.ESCALATE, Verdict.DENY):
        return TurnResult(status=TurnStatus.DENIED, decision=review, provider=said.provider, model=said.model, usage=said.usage)
    reply = review.transformed or said.reply
    remember = RememberCall(
        actor=turn.actor, session_id=session.session_id, turn_id=turn.turn_id, message=permit.text, reply=reply
    )
    try:
        await permit.run(Effect.MEMORY_REMEMBER, ActivityName.MEMORY_REMEMBER, remember, Remembered, MEMORY, "Remember")
    except ActivityError as error:
        _raise_if_cancelled(error)
        warnings.append(TurnWarning.NOT_REMEMBERED)
    return TurnResult(
        status=TurnStatus.COMPLETED,
        reply=reply,
        provider=said.provider,
        model=said.model,
        fallback=said.fallback,
        usage=said.usage,
        citations=said.citations if review.transformed is None else (),
        decision=permit.decision,
        warnings=tuple(warnings),
    )


async def _ask(session: SessionInput, turn: Turn, permit: Permit, recalled: RecallOutcome) -> SlmAnswer:
    """What a model of the session's role says. Raises ModelFailed, and the cancellation of a turn that is stopped."""
    call = SlmCall(
        actor=turn.actor,
        session_id=session.session_id,
        turn_id=turn.turn_id,
        role=session.model_role,
        message=permit.text,
        documents=session.documents,
        recalled=recalled.recollection,
    )
    if workflow.patched(MODEL_ROUTING):
        size = permit.text.size + session.document_bytes + (recalled.recollection.size if recalled.recollection else 0)
        return await call_model(
            permit,
            call,
            await plan(PlanCall(actor=turn.actor, role=session.model_role, input_bytes=size, region=session.region)),
        )
    try:
        return await permit.run(Effect.MODEL_CALL, ActivityName.SLM_COMPLETE, call, SlmAnswer, MODEL, "Ask the model")
    except ActivityError as error:
        _raise_if_cancelled(error)
        raise ModelFailed(turn_error(error)) from None


async def _review(session: SessionInput, turn: Turn, said: SlmAnswer) -> Decision:
    call = ReviewCall(
        session_id=session.session_id,
        turn=turn,
        reply=said.reply,
        request=question(session, turn, f"turn/{turn.turn_id}/review").model_copy(update={"text": said.reply}),
        decision_id=new_id(Prefix.DECISION),
    )
    return await workflow.execute_local_activity(
        ActivityName.TURN_REVIEW.value, call, result_type=Decision, summary="Review the answer", **RECORD
    )


def _raise_if_cancelled(error: ActivityError) -> None:
    if is_cancelled_exception(error):
        raise error
