"""Decisions that wait for an approver, and the answers they got. Any workflow with a gate can hold one of these."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

from domain.blobs import BlobRef
from domain.decisions import Decision, Resolution
from domain.names import ActivityName
from domain.sessions import ResolveCall, ResolveOutcome, ResolveRequest
from workflows.options import RECORD


class Approvals:
    """The escalated decisions of one run."""

    def __init__(self, tenant_id: str, session_id: str, wait_seconds: int) -> None:
        """`wait_seconds`: without an answer a decision is refused after this long."""
        self._tenant_id, self._session_id = tenant_id, session_id
        self._wait = timedelta(seconds=wait_seconds)
        self._waiting: set[str] = set()
        self._resolutions: dict[str, Resolution] = {}

    async def granted(self, decision: Decision) -> bool:
        """Waits for an approver's answer to this decision."""
        self._waiting.add(decision.decision_id)
        try:
            await workflow.wait_condition(
                lambda: decision.decision_id in self._resolutions, timeout=self._wait, timeout_summary="Wait for an approver"
            )
        except TimeoutError:
            expired = Resolution(
                decision_id=decision.decision_id, approved=False, approver=None, comment="expired", at=workflow.now()
            )
            await self._record(expired)
        finally:
            self._waiting.discard(decision.decision_id)
        return self._resolutions[decision.decision_id].approved

    async def resolve(self, request: ResolveRequest) -> ResolveOutcome:
        """Records an approver's answer; the first one stands, and one for a decision that does not wait here is none."""
        if request.decision_id in self._waiting and request.decision_id not in self._resolutions:
            answer = Resolution(
                decision_id=request.decision_id,
                approved=request.approved,
                approver=request.actor.subject,
                at=workflow.now(),
            )
            await self._record(answer, request.comment)
        return ResolveOutcome(resolution=self._resolutions.get(request.decision_id))

    async def _record(self, resolution: Resolution, comment: BlobRef | None = None) -> None:
        stored = await workflow.execute_local_activity(
            ActivityName.DECISION_RESOLVE.value,
            ResolveCall(tenant_id=self._tenant_id, session_id=self._session_id, resolution=resolution, comment=comment),
            result_type=Resolution,
            summary="Record the approver's answer",
            **RECORD,
        )
        self._resolutions[stored.decision_id] = stored
