"""The session workflow with one activity call removed: what it ran must not replay on the real one."""

from __future__ import annotations

from temporalio import workflow

from domain.sessions import SessionInput, SessionStatus, Turn, TurnResult
from workflows.gate import Permit
from workflows.sessions import SessionWorkflow
from workflows.turns import TURN_EFFECTS, answer, decide


@workflow.defn(name="session")
class BrokenSessionWorkflow(SessionWorkflow):
    """Forgets to record that its first turn runs."""

    @workflow.init
    def __init__(self, session: SessionInput) -> None:
        super().__init__(session)

    @workflow.run
    async def run(self, session: SessionInput) -> SessionStatus:
        return await super().run(session)

    async def _answer(self, turn: Turn) -> TurnResult:
        first = turn.turn_id == self._session.first_turn
        decision = self._decided() if first else await decide(self._session, turn)
        permit = Permit.of(decision, TURN_EFFECTS, turn.message, approved=first)
        return await answer(self._session, turn, permit, self._approvals)
