"""Sessions, turns and decisions: rows written with their events, and read as projections."""

from __future__ import annotations

from typing import Any, Protocol

from domain.base import Contract
from domain.blobs import BlobRef
from domain.decisions import Decision, GateRequest, Resolution
from domain.models import ChatMessage
from domain.sessions import SendRequest, SessionInput, SessionStatus, SessionView, Turn, TurnResult, TurnStatus, TurnView


class DecisionRecord(Contract):
    """A decision as it reads, with what it was about."""

    decision: Decision
    workflow_id: str
    resource: str
    subject: str
    resolution: Resolution | None = None


class SessionStore(Protocol):
    """Each write is one transaction with its events; the first writer wins and the stored value is returned."""

    async def decision(self, tenant_id: str, workflow_id: str, step_key: str) -> Decision | None:
        """The decision this step already has, if any."""
        ...

    async def start(
        self,
        session: SessionInput,
        run_id: str,
        workflow_id: str,
        request: GateRequest,
        decision: Decision,
        snapshot: dict[str, Any],
    ) -> Decision:
        """Records the decision, the session and, if it may run, its first turn."""
        ...

    async def queue(self, session_id: str, request: SendRequest) -> int:
        """Records a queued turn as the last of its session; its number, the same when it is there already."""
        ...

    async def open_turn(
        self, session_id: str, turn: Turn, request: GateRequest, decision: Decision, snapshot: dict[str, Any]
    ) -> Decision:
        """Records the decision on a turn and marks it running, awaiting approval or denied."""
        ...

    async def record_review(
        self, session_id: str, turn: Turn, request: GateRequest, decision: Decision, snapshot: dict[str, Any]
    ) -> Decision:
        """Records the decision on an answer; one that is escalated makes the turn wait for an approver."""
        ...

    async def run_turn(self, tenant_id: str, session_id: str, turn_id: str) -> None:
        """Marks a turn running whose decision was taken before: the first turn's, or an approved one's."""
        ...

    async def close_turn(self, tenant_id: str, session_id: str, turn_id: str, result: TurnResult) -> TurnStatus:
        """Records how a turn ended; a turn that has ended keeps its end, which is returned."""
        ...

    async def resolve(
        self, tenant_id: str, session_id: str, resolution: Resolution, comment: BlobRef | None = None
    ) -> Resolution:
        """Records an approver's answer to an escalated decision, with the text of `comment`; the first stands."""
        ...

    async def close(self, tenant_id: str, session_id: str, status: SessionStatus, reason: str) -> None:
        """Records that the session takes no more messages."""
        ...


class SessionReads(Protocol):
    """Projections of one tenant. Each raises NotFound for what is unknown or another tenant's."""

    async def session(self, tenant_id: str, session_id: str) -> SessionView:
        """One session."""
        ...

    async def sessions(
        self, tenant_id: str, *, status: SessionStatus | None, after: str | None, limit: int
    ) -> tuple[SessionView, ...]:
        """Newest first, from after that id on."""
        ...

    async def turn(self, tenant_id: str, session_id: str, turn_id: str) -> TurnView:
        """One turn with its texts."""
        ...

    async def turns(self, tenant_id: str, session_id: str, *, after: int, limit: int) -> tuple[TurnView, ...]:
        """The transcript in order, from after that sequence number on."""
        ...

    async def conversation(self, tenant_id: str, session_id: str, before: int, limit: int) -> tuple[ChatMessage, ...]:
        """The last completed exchanges before a turn, oldest first, as a model is given them."""
        ...

    async def turn_number(self, tenant_id: str, session_id: str, turn_id: str) -> int:
        """The sequence number of a turn."""
        ...

    async def wait_turn(self, tenant_id: str, session_id: str, turn_id: str, timeout_seconds: float) -> TurnView:
        """The turn once it has ended or waits for an approver, or as it stands after that time."""
        ...

    async def decision(self, tenant_id: str, decision_id: str) -> DecisionRecord:
        """One decision."""
        ...

    async def decisions(self, tenant_id: str, *, open_only: bool, after: str | None, limit: int) -> tuple[DecisionRecord, ...]:
        """Newest first, from after that id on; `open_only`: escalated and not yet resolved."""
        ...
