"""Events of the gate's decisions and of what moderation found."""

from __future__ import annotations

from typing import ClassVar, Final

from domain.base import Count, Sha256
from domain.constitution import Direction, Severity
from domain.decisions import Decision, Verdict
from domain.event_data.base import EventData, ReasonCode, reason_codes
from domain.ids import DecisionId, TurnId
from domain.names import EventType, Topic


class DecisionRecorded(EventData):
    """The gate decided. `resource` is what the decision is about and the event's subject; `score` is 0..1000."""

    event_type: ClassVar[EventType] = EventType.DECISION_RECORDED
    topic: ClassVar[Topic] = Topic.POLICY_DECISIONS

    decision_id: DecisionId
    verdict: Verdict
    score: Count
    reasons: tuple[ReasonCode, ...] = ()
    policy_digest: Sha256 | None = None
    constitution_hash: Sha256 | None = None
    input_digest: Sha256
    workflow_id: str
    resource: str
    tenant_policy_digest: Sha256 | None = None

    @property
    def about(self) -> str:
        return self.resource

    @classmethod
    def of(cls, decision: Decision, workflow_id: str, resource: str) -> DecisionRecorded:
        """The event of a decision."""
        return cls(
            decision_id=decision.decision_id,
            verdict=decision.verdict,
            score=decision.score,
            reasons=reason_codes(decision),
            policy_digest=decision.policy_digest,
            constitution_hash=decision.constitution_hash,
            input_digest=decision.input_digest,
            workflow_id=workflow_id,
            resource=resource,
            tenant_policy_digest=decision.tenant_policy_digest,
        )


class DecisionResolved(EventData):
    """An escalated decision was answered. `approver` is null when the time for an answer ran out."""

    event_type: ClassVar[EventType] = EventType.DECISION_RESOLVED
    topic: ClassVar[Topic] = Topic.POLICY_DECISIONS

    decision_id: DecisionId
    resource: str
    approved: bool
    approver: str | None = None

    @property
    def about(self) -> str:
        return self.resource


class ContentFlagged(EventData):
    """Moderation found something in a text. `severity` is the worst found; `resource` (a session) is the subject."""

    event_type: ClassVar[EventType] = EventType.CONTENT_FLAGGED
    topic: ClassVar[Topic] = Topic.MODERATION_EVENTS

    resource: str
    direction: Direction
    severity: Severity
    rule_ids: tuple[str, ...]
    categories: tuple[str, ...]
    verdict: Verdict
    decision_id: DecisionId | None = None
    turn_id: TurnId | None = None
    constitution_hash: Sha256 | None = None

    @property
    def about(self) -> str:
        return self.resource


EVENTS: Final = (
    DecisionRecorded,
    DecisionResolved,
    ContentFlagged,
)
