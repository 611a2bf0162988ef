"""A model request of its own: decided, planned, asked and recorded, as one short run.

It may wait for an approver, for its turn in a busy queue and, where the caller allows it, for a budget to be raised.
"""

from __future__ import annotations

import asyncio

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from domain.decisions import Decision, Facts, GateRequest, Verdict
from domain.errors import Denied, ModelStreamBroken, ModelTimedOut
from domain.ids import Prefix
from domain.models import SlmAnswer, SlmCall
from domain.names import ActivityName, Effect, UpdateName, WorkflowName
from domain.sessions import ResolveOutcome, ResolveRequest, TurnError
from domain.slm import CloseSlmCall, OpenedSlm, OpenSlmCall, SlmKind, SlmMove, SlmRequestInput, SlmStatus
from workflows.approvals import Approvals
from workflows.gate import Permit, ask, new_id, show_verdict
from workflows.model_calls import ModelFailed, call_model
from workflows.options import RECORD

_EFFECTS = (Effect.MODEL_CALL,)
_UNKNOWN = frozenset({ModelTimedOut.type, ModelStreamBroken.type})
"""After these nobody knows whether the vendor did the work."""
_EXPIRED = TurnError(type=ModelTimedOut.type, detail="The request's deadline passed before it was answered; send a new one.")


@workflow.defn(name=WorkflowName.SLM_REQUEST.value)
class SlmRequestWorkflow:
    """See the module."""

    @workflow.init
    def __init__(self, asked: SlmRequestInput) -> None:
        """Nothing is decided yet."""
        self._asked = asked
        self._approvals = Approvals(asked.actor.tenant_id, asked.request_id, asked.approval_seconds)
        self._resumed = 0

    @workflow.run
    async def run(self, asked: SlmRequestInput) -> SlmStatus:
        """Ends once the request's end is recorded. A cancelled run records that and ends as cancelled."""
        try:
            status = await asyncio.wait_for(self._work(asked), timeout=asked.deadline_seconds)
        except TimeoutError:
            status = await self._close(SlmStatus.FAILED, error=_EXPIRED)
        except (asyncio.CancelledError, ActivityError) as error:
            if not is_cancelled_exception(error):
                raise
            await self._close(SlmStatus.CANCELLED)
            raise
        await workflow.wait_condition(workflow.all_handlers_finished)
        return status

    async def _work(self, asked: SlmRequestInput) -> SlmStatus:
        opened = await self._open(asked)
        decision = opened.decision
        show_verdict(decision.verdict)
        approved = decision.verdict is Verdict.ESCALATE and await self._approvals.granted(decision)
        if decision.verdict is Verdict.DENY or (decision.verdict is Verdict.ESCALATE and not approved):
            return await self._close(SlmStatus.DENIED, error=_denied(decision))
        if opened.route is None:
            return await self._close(SlmStatus.FAILED, error=opened.error)
        permit = Permit.of(decision, _EFFECTS, asked.text, approved=approved)
        activity = ActivityName.SLM_COMPLETE if asked.kind is SlmKind.COMPLETE else ActivityName.SLM_EMBED
        try:
            answer = await call_model(
                permit, self._call(asked, decision), opened.route, activity=activity, on_exhausted=self._paused
            )
        except ModelFailed as failure:
            status = SlmStatus.UNKNOWN if failure.error.type in _UNKNOWN else SlmStatus.FAILED
            return await self._close(status, error=failure.error)
        return await self._close(SlmStatus.COMPLETED, answer=answer)

    async def _open(self, asked: SlmRequestInput) -> OpenedSlm:
        return await workflow.execute_local_activity(
            ActivityName.SLM_OPEN.value,
            OpenSlmCall(input=asked, request=self._question(asked, "start"), decision_id=new_id(Prefix.DECISION)),
            result_type=OpenedSlm,
            summary="Decide on the request and choose its model",
            **RECORD,
        )

    def _question(self, asked: SlmRequestInput, step_key: str) -> GateRequest:
        return ask(
            asked.actor,
            step_key=step_key,
            effects=_EFFECTS,
            resource=asked.request_id,
            text=asked.text,
            facts=Facts(text_bytes=asked.text.size, model_role=asked.role),
            region=asked.region,
        )

    @staticmethod
    def _call(asked: SlmRequestInput, decision: Decision) -> SlmCall:
        return SlmCall(
            actor=asked.actor,
            role=asked.role,
            request_id=asked.request_id,
            input=asked.input,
            transformed=decision.transformed,
            lane=asked.lane,
            keys=asked.keys,
            stream=asked.stream,
        )

    async def _paused(self, _: TurnError) -> bool:
        """Where the caller asked for it, waits until somebody says that there is room again."""
        if self._asked.on_exhausted == "stop":
            return False
        await self._move(SlmStatus.AWAITING_BUDGET)
        seen = self._resumed
        await workflow.wait_condition(lambda: self._resumed > seen)
        await self._move(SlmStatus.RUNNING)
        return True

    async def _move(self, status: SlmStatus) -> None:
        await workflow.execute_local_activity(
            ActivityName.SLM_MOVE.value,
            SlmMove(tenant_id=self._asked.actor.tenant_id, request_id=self._asked.request_id, status=status),
            summary=f"Record that the request is {status.value.replace('_', ' ')}",
            **RECORD,
        )

    async def _close(self, status: SlmStatus, *, answer: SlmAnswer | None = None, error: TurnError | None = None) -> SlmStatus:
        asked, review = self._asked, None
        if answer is not None and asked.kind is SlmKind.COMPLETE:
            review = self._question(asked, "review").model_copy(update={"text": answer.message or answer.reply})
        return await workflow.execute_local_activity(
            ActivityName.SLM_CLOSE.value,
            CloseSlmCall(
                tenant_id=asked.actor.tenant_id,
                request_id=asked.request_id,
                status=status,
                answer=answer,
                error=error,
                review=review,
                decision_id=new_id(Prefix.DECISION) if review else None,
            ),
            result_type=SlmStatus,
            summary="Review the answer and record it" if review else "Record how the request ended",
            **RECORD,
        )

    @workflow.update(name=UpdateName.RESUME.value)
    async def resume(self) -> None:
        """Tries again what a budget had no room for."""
        self._resumed += 1

    @workflow.update(name=UpdateName.RESOLVE.value)
    async def resolve(self, request: ResolveRequest) -> ResolveOutcome:
        """An approver's answer to the decision that waits here; the first one stands."""
        return await self._approvals.resolve(request)


def _denied(decision: Decision) -> TurnError:
    reasons = ", ".join(reason.code for reason in decision.reasons) or "refused by an approver"
    return TurnError(type=Denied.type, detail=f"The gate refused this: {reasons}.")
