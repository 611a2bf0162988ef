"""A session as an entity workflow: decided once, then one turn at a time, in order, until it closes.

The run method does the work and the update `started` only waits for the decision, so a run whose update never arrived
still decides, records and closes itself. Updates never wait for a model: `send` returns once the turn is recorded as
queued, `cancel` once the running turn is recorded as cancelled.
"""

from __future__ import annotations

import asyncio
import bisect
from collections import deque
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from domain.decisions import Decision, Facts, Verdict
from domain.errors import Conflict, DomainError
from domain.ids import Prefix
from domain.kill_switches import CANCELLED_BY_SWITCH
from domain.names import ActivityName, Effect, UpdateName, WorkflowName
from domain.sessions import (
    CANCELLED_REASON,
    KILL_SWITCH_REASON,
    CancelOutcome,
    CarriedState,
    CloseCall,
    CloseTurnCall,
    OpenCall,
    QueueCall,
    ResolveOutcome,
    ResolveRequest,
    SendOutcome,
    SendRefusal,
    SendRequest,
    SessionInput,
    SessionStatus,
    StartOutcome,
    Turn,
    TurnError,
    TurnResult,
    TurnStatus,
)
from workflows.approvals import Approvals
from workflows.gate import Permit, ask, new_id, show_verdict
from workflows.options import QUEUE, RECORD, UPDATES_PER_RUN
from workflows.requests import AnsweredRequests
from workflows.turns import TURN_EFFECTS, answer, decide, run_approved

MAX_QUEUED = 32


@workflow.defn(name=WorkflowName.SESSION.value)
class SessionWorkflow:
    """See the module."""

    @workflow.init
    def __init__(self, session: SessionInput) -> None:
        """Restores what was carried across continue-as-new."""
        carried = session.carried
        self._session = session
        self._decision: Decision | None = carried.decision if carried else None
        self._status = SessionStatus.OPEN
        self._queue: deque[Turn] = deque(carried.queue if carried else ())
        self._answered = AnsweredRequests(carried.answered if carried else ())
        self._approvals = Approvals(session.actor.tenant_id, session.session_id, session.approval_seconds)
        self._sending = asyncio.Lock()
        self._running: Turn | None = None
        self._work: asyncio.Task[TurnResult] | None = None
        self._stopping = False
        self._closing = False
        self._updates = 0

    @workflow.run
    async def run(self, _: SessionInput) -> SessionStatus:
        """Decides, serves turns, closes. Returns the session's last status."""
        try:
            if self._decision is None:
                await self._open()
            if self._status is SessionStatus.OPEN:
                await self._serve()
        except (asyncio.CancelledError, ActivityError) as error:
            if not is_cancelled_exception(error):
                raise
            await self._close(SessionStatus.CLOSED, _why_cancelled())
            raise
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self._status

    # The decision

    async def _open(self) -> None:
        session = self._session
        decision = await self._decide_start()
        allowed = decision.verdict not in (Verdict.ESCALATE, Verdict.DENY)
        if decision.verdict is Verdict.ESCALATE:
            self._status, self._decision = SessionStatus.AWAITING_APPROVAL, decision
            allowed = await self._approvals.granted(decision)
            if not allowed:
                await self._close(SessionStatus.DENIED, "refused")
        self._status = SessionStatus.OPEN if allowed else SessionStatus.DENIED
        self._decision = decision
        show_verdict(decision.verdict)
        if session.prompt is None or session.first_turn is None:
            return
        if allowed and session.run_turns:
            message = decision.transformed or session.prompt
            self._queue.append(
                Turn(turn_id=session.first_turn, seq=1, request_key=session.request_key, actor=session.actor, message=message)
            )

    async def _decide_start(self) -> Decision:
        session = self._session
        effects = (Effect.SESSION_START, *TURN_EFFECTS) if session.prompt else (Effect.SESSION_START,)
        request = ask(
            session.actor,
            step_key="start",
            effects=effects,
            resource=session.session_id,
            text=session.prompt,
            facts=Facts(
                text_bytes=session.prompt.size if session.prompt else 0,
                documents=len(session.documents),
                document_bytes=session.document_bytes,
                persona=session.persona or "",
                model_role=session.model_role,
            ),
            region=session.region,
        )
        return await workflow.execute_local_activity(
            ActivityName.SESSION_OPEN.value,
            OpenCall(session=session, request=request, decision_id=new_id(Prefix.DECISION)),
            result_type=Decision,
            summary="Decide on the session",
            **RECORD,
        )

    # Turns

    async def _serve(self) -> None:
        while await self._next():
            if self._queue:
                await self._take(self._queue.popleft())
            if self._must_continue():
                await workflow.wait_condition(workflow.all_handlers_finished)
                if not self._closing:
                    workflow.continue_as_new(self._carry())

    async def _next(self) -> bool:
        """Waits for a turn. False when the session is over: closed and drained, or idle for too long."""
        try:
            await workflow.wait_condition(
                lambda: bool(self._queue) or self._closing or self._must_continue(),
                timeout=timedelta(seconds=self._session.idle_seconds),
                timeout_summary="Close when idle",
            )
        except TimeoutError:
            async with self._sending:
                if not self._queue and not self._closing:
                    await self._close(SessionStatus.CLOSED, "idle")
        return bool(self._queue) or not self._closing

    async def _take(self, turn: Turn) -> None:
        """Runs one turn to its recorded end; only the cancellation of the whole run goes further up."""
        self._running, self._stopping = turn, False
        self._work = asyncio.create_task(self._answer(turn))
        try:
            await self._end(turn, await self._work)
        except DomainError as error:
            failed = TurnError(type=error.type, detail=error.detail)
            await self._end(turn, TurnResult(status=TurnStatus.FAILED, error=failed))
        except (asyncio.CancelledError, ActivityError) as error:
            if not is_cancelled_exception(error):
                raise
            await self._end(turn, TurnResult(status=TurnStatus.CANCELLED))
            if not self._stopping:
                raise
        finally:
            self._running = None

    async def _answer(self, turn: Turn) -> TurnResult:
        session, approved = self._session, False
        if turn.turn_id == session.first_turn and self._decision is not None:
            decision, approved = self._decision, True
        else:
            decision = await decide(session, turn)
            if decision.verdict is Verdict.ESCALATE:
                approved = await self._approvals.granted(decision)
        if decision.verdict is Verdict.DENY or (decision.verdict is Verdict.ESCALATE and not approved):
            return TurnResult(status=TurnStatus.DENIED, decision=decision)
        if approved:
            await run_approved(session, turn)
        permit = Permit.of(decision, TURN_EFFECTS, turn.message, approved=approved)
        return await answer(session, turn, permit, self._approvals)

    async def _end(self, turn: Turn, result: TurnResult) -> None:
        session = self._session
        await workflow.execute_local_activity(
            ActivityName.TURN_CLOSE.value,
            CloseTurnCall(tenant_id=turn.actor.tenant_id, session_id=session.session_id, turn_id=turn.turn_id, result=result),
            summary="Record how the turn ended",
            **RECORD,
        )

    async def _close(self, status: SessionStatus, reason: str) -> None:
        session = self._session
        self._closing = True
        await workflow.execute_local_activity(
            ActivityName.SESSION_CLOSE.value,
            CloseCall(tenant_id=session.actor.tenant_id, session_id=session.session_id, status=status, reason=reason),
            summary="Record that the session takes no more messages",
            **RECORD,
        )
        self._status = status

    def _must_continue(self) -> bool:
        return workflow.info().is_continue_as_new_suggested() or self._updates >= UPDATES_PER_RUN

    def _carry(self) -> SessionInput:
        carried = CarriedState(
            decision=self._decided(),
            queue=tuple(self._queue),
            answered=self._answered.carry(),
        )
        return self._session.model_copy(update={"carried": carried})

    def _decided(self) -> Decision:
        if self._decision is None:
            raise Conflict("The session is not decided yet.")
        return self._decision

    # Updates

    @workflow.update(name=UpdateName.STARTED.value)
    async def started(self) -> StartOutcome:
        """The decision, once it is recorded."""
        await workflow.wait_condition(lambda: self._decision is not None)
        return StartOutcome(decision=self._decided(), status=self._status, turn_id=self._session.first_turn)

    @workflow.update(name=UpdateName.SEND.value)
    async def send(self, request: SendRequest) -> SendOutcome:
        """Queues a message and returns once its turn is recorded; one at a time, in the order of their rows."""
        self._updates += 1
        async with self._sending:
            key = f"{request.actor.client_id}:{request.request_key}"
            if found := self._answered.find(key):
                same = found[1] == request.message.sha256
                return SendOutcome(turn_id=found[0]) if same else SendOutcome(refusal=SendRefusal.KEY_REUSED)
            if refusal := self._refusal():
                return SendOutcome(refusal=refusal)
            seq = await workflow.execute_activity(
                ActivityName.TURN_QUEUE.value,
                QueueCall(session_id=self._session.session_id, request=request),
                result_type=int,
                summary="Record the queued turn",
                **QUEUE,
            )
            turn = Turn(
                turn_id=request.turn_id, seq=seq, request_key=request.request_key, actor=request.actor, message=request.message
            )
            self._answered.add(key, turn.turn_id, turn.message.sha256)
            bisect.insort(self._queue, turn, key=lambda queued: queued.seq)
            return SendOutcome(turn_id=turn.turn_id)

    def _refusal(self) -> SendRefusal | None:
        if self._decision is None or self._status is SessionStatus.AWAITING_APPROVAL:
            return SendRefusal.NOT_OPEN
        if self._closing or self._status is not SessionStatus.OPEN:
            return SendRefusal.CLOSED
        return SendRefusal.FULL if len(self._queue) >= MAX_QUEUED else None

    @workflow.update(name=UpdateName.CANCEL.value)
    async def cancel(self) -> CancelOutcome:
        """Stops the running turn and returns once that is recorded. Queued turns go on."""
        self._updates += 1
        turn, work = self._running, self._work
        if turn is None or work is None or work.done():
            return CancelOutcome()
        self._stopping = True
        work.cancel()
        await workflow.wait_condition(lambda: self._running is not turn)
        return CancelOutcome(turn_id=turn.turn_id)

    @workflow.update(name=UpdateName.CLOSE.value)
    async def close(self) -> SessionStatus:
        """Takes no more messages from now on; turns already taken are still answered. An undecided session stays so."""
        self._updates += 1
        async with self._sending:
            if self._decision is not None and self._status is SessionStatus.OPEN and not self._closing:
                await self._close(SessionStatus.CLOSED, "requested")
        return self._status

    @workflow.update(name=UpdateName.RESOLVE.value)
    async def resolve(self, request: ResolveRequest) -> ResolveOutcome:
        """An approver's answer to a decision that waits here; the first one stands."""
        self._updates += 1
        return await self._approvals.resolve(request)


def _why_cancelled() -> str:
    """What the row says of a run that was ended from outside."""
    stopped = (workflow.cancellation_reason() or "").startswith(CANCELLED_BY_SWITCH)
    return KILL_SWITCH_REASON if stopped else CANCELLED_REASON
