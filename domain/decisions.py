"""What the gate is asked and what it answers: verdict, reasons, and the digests that let it be decided again."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from domain.actors import Actor
from domain.base import Contract, Count, Sha256, UtcTime
from domain.blobs import BlobRef
from domain.ids import DecisionId
from domain.names import Effect


class Verdict(StrEnum):
    """From mildest to strictest."""

    ALLOW = "allow"
    WARN = "warn"
    TRANSFORM = "transform"
    ESCALATE = "escalate"
    DENY = "deny"


STRICTNESS: dict[Verdict, int] = {verdict: rank for rank, verdict in enumerate(Verdict)}


def strictest(*verdicts: Verdict) -> Verdict:
    """The strictest of these; `allow` when there are none."""
    return max(verdicts, key=STRICTNESS.__getitem__, default=Verdict.ALLOW)


class ReasonCode(StrEnum):
    """Codes of the gate itself. Besides these a reason's code is the id of a moderation rule or of a policy."""

    CONSTITUTION_UNAVAILABLE = "constitution-unavailable"
    """No constitution verifies: the gateway answers 503."""
    CHECKER_FAILED = "checker-failed"
    """A checker raised, was late or answered nonsense."""
    FOREIGN_TENANT = "foreign-tenant"
    SCOPE_MISSING = "scope-missing"
    NOT_STANDING = "not-standing"
    """The client is disabled or gone, or lost a scope, since the token was issued."""
    KILL_SWITCH = "kill-switch"
    """A kill switch is engaged that means this: the gateway answers 503."""
    TEXT_TOO_LARGE = "text-too-large"
    NO_POLICY_PERMITS = "no-policy-permits"
    POLICY_ERROR = "policy-error"
    """The policies could not be evaluated, which is a denial."""


class Reason(Contract):
    """Why a checker did not simply allow. `code` is stable, `message` is for people and holds no text of the request."""

    checker: str
    code: str
    message: str


class Facts(Contract):
    """Named facts of a request: what the score is computed from and Cedar sees as `context`."""

    text_bytes: Count = 0
    documents: Count = 0
    document_bytes: Count = 0
    turn: Count = 0
    persona: str = ""
    model_role: str = ""


class GateRequest(Contract):
    """One question to the gate. `text` is what is moderated; `step_key` makes the answer first-writer-wins."""

    actor: Actor
    workflow_id: str
    step_key: str
    effects: tuple[Effect, ...] = Field(min_length=1)
    resource: str
    text: BlobRef | None = None
    facts: Facts = Facts()
    region: str
    at: UtcTime


class Decision(Contract):
    """The gate's answer. `score` is 0..1000; `transformed`, where there is one, replaces the text everywhere. `policy_digest` is
    of the constitution's policies, `tenant_policy_digest` of the tenant's own, where it has any in force.

    There is one when the verdict is `transform`, and when it is `escalate` and a policy also transforms: an approved text is
    still transformed.
    """

    decision_id: DecisionId
    verdict: Verdict
    reasons: tuple[Reason, ...] = ()
    score: int = Field(default=0, ge=0, le=1000)
    policy_digest: Sha256 | None = None
    constitution_hash: Sha256 | None = None
    input_digest: Sha256
    transformed: BlobRef | None = None
    decided_at: UtcTime
    tenant_policy_digest: Sha256 | None = None


class Resolution(Contract):
    """What an approver said about an escalated decision; `approver` is `None` when its time ran out."""

    # In a history there is no comment of an approver: it is a text, and is passed beside this as a blob.

    decision_id: DecisionId
    approved: bool
    approver: str | None
    comment: str | None = Field(default=None, max_length=500)
    at: UtcTime
