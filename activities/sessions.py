"""Activities of sessions and turns: ask the gate, record what it said, record how things ended.

Each is a local activity of one transaction. A retry first looks for the decision that its step already has, so that the
gate is not asked again about what is settled. A denial because a check failed stands only after a while: see `undecided`.
"""

from __future__ import annotations

from temporalio import activity

from activities.errors import translate_errors
from activities.gate import Gate
from activities.undecided import UndecidedSteps
from domain.decisions import Decision, GateRequest, Resolution
from domain.errors import DependencyUnavailable
from domain.names import ActivityName
from domain.ports.sessions import SessionStore
from domain.sessions import (
    CloseCall,
    CloseTurnCall,
    OpenCall,
    OpenTurnCall,
    QueueCall,
    ResolveCall,
    ReviewCall,
    RunTurnCall,
    TurnStatus,
)


class SessionActivities:
    """What a session's workflow has done for it."""

    def __init__(self, gate: Gate, store: SessionStore, undecided: UndecidedSteps | None = None) -> None:
        """`gate` decides, `store` keeps, `undecided` says how long checks may fail before that is a denial."""
        self._gate, self._store = gate, store
        self._undecided = undecided or UndecidedSteps()

    @activity.defn(name=ActivityName.SESSION_OPEN.value)
    async def open(self, call: OpenCall) -> Decision:
        """Decides on the session and records it, with its first turn."""
        with translate_errors():
            if settled := await self._settled(call.request):
                return settled
            decision, snapshot = await self._gate.decide(call.request, call.decision_id)
            self._undecided.settle(call.request, decision)
            info = activity.info()
            run_id, workflow_id = info.workflow_run_id or "", call.request.workflow_id
            return await self._store.start(call.session, run_id, workflow_id, call.request, decision, snapshot)

    @activity.defn(name=ActivityName.TURN_QUEUE.value)
    async def queue(self, call: QueueCall) -> int:
        """Records a queued turn; its number in the session."""
        with translate_errors():
            return await self._store.queue(call.session_id, call.request)

    @activity.defn(name=ActivityName.TURN_OPEN.value)
    async def open_turn(self, call: OpenTurnCall) -> Decision:
        """Decides on a turn and records it."""
        with translate_errors():
            if settled := await self._settled(call.request):
                return settled
            decision, snapshot = await self._gate.decide(call.request, call.decision_id)
            self._undecided.settle(call.request, decision)
            return await self._store.open_turn(call.session_id, call.turn, call.request, decision, snapshot)

    @activity.defn(name=ActivityName.TURN_RUN.value)
    async def run_turn(self, call: RunTurnCall) -> None:
        """Records that a turn runs whose decision was taken before."""
        with translate_errors():
            await self._store.run_turn(call.tenant_id, call.session_id, call.turn_id)

    @activity.defn(name=ActivityName.TURN_REVIEW.value)
    async def review(self, call: ReviewCall) -> Decision:
        """Decides on an answer before anyone sees it, and records that."""
        with translate_errors():
            if settled := await self._settled(call.request):
                return settled
            decision, snapshot = await self._gate.review_output(call.request, call.decision_id)
            self._undecided.settle(call.request, decision)
            return await self._store.record_review(call.session_id, call.turn, call.request, decision, snapshot)

    @activity.defn(name=ActivityName.TURN_CLOSE.value)
    async def close_turn(self, call: CloseTurnCall) -> TurnStatus:
        """Records how a turn ended."""
        with translate_errors():
            return await self._store.close_turn(call.tenant_id, call.session_id, call.turn_id, call.result)

    @activity.defn(name=ActivityName.DECISION_RESOLVE.value)
    async def resolve(self, call: ResolveCall) -> Resolution:
        """Records an approver's answer; the first one stands."""
        with translate_errors():
            stored = await self._store.resolve(call.tenant_id, call.session_id, call.resolution, call.comment)
            # What an approver wrote stays in the row. A resolution without an approver is worded by the workflow itself.
            return stored if stored.approver is None else stored.model_copy(update={"comment": None})

    @activity.defn(name=ActivityName.SESSION_CLOSE.value)
    async def close(self, call: CloseCall) -> None:
        """Records that the session takes no more messages."""
        with translate_errors():
            await self._store.close(call.tenant_id, call.session_id, call.status, call.reason)

    async def _settled(self, request: GateRequest) -> Decision | None:
        if activity.info().attempt == 1:
            return None
        try:
            return await self._store.decision(request.actor.tenant_id, request.workflow_id, request.step_key)
        except DependencyUnavailable:
            self._undecided.interrupted(request)
            raise
