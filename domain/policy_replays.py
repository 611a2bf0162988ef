"""Replays: recorded decisions are asked again, by the policies they were taken by or by others.

A decision's snapshot holds what the policies were asked, and what the other checkers said, which no policy changes. So with the
same policies the same must come out, to the letter, and with others exactly what they would have changed.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

from pydantic import ValidationError

from domain.actors import Actor
from domain.base import Contract, Count, Sha256, UtcTime
from domain.blobs import BlobRef
from domain.decisions import Decision, GateRequest, ReasonCode, Verdict, strictest
from domain.ids import DecisionId, PolicyReplayId, PolicySetId
from domain.policy_sets import SPEAKERS, LayerVerdict, PolicyLayers
from domain.ports.policy import PolicyAnswer, PolicyEngine, PolicyQuestion

PART: Final = 2_000
"""Decisions that one activity asks again."""
KEPT: Final = 10_000
"""Changed decisions, and skipped ones, that a result names; beyond these it counts."""
_CHECKER: Final = "policy"
_SPEAKERS: Final = frozenset(SPEAKERS.values())


class ReplayStatus(StrEnum):
    """Only `running` may change."""

    RUNNING = "running"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"


class NotReplayable(StrEnum):
    """Why a decision cannot be asked again."""

    RECORDED_BEFORE = "recorded-before"
    """Its snapshot is of an older release and does not say which policies decided."""
    CHECK_FAILED = "check-failed"
    """It was a denial because a check failed, not because a rule said so."""
    POLICIES_UNKNOWN = "policies-unknown"
    """The constitution or policy set that it names is not kept here."""
    OTHER_SCHEMA = "other-schema"
    """The policies are kept, but the schema has changed since."""


class RecordedDecision(Contract):
    """A decision as it was recorded."""

    decision: Decision
    snapshot: dict[str, Any]


class Recorded(Contract):
    """What of a recorded decision is asked again. `others` are the opinions of the other checkers; `layers` is empty where the
    policies were not asked, because one of the others had denied already."""

    decision: Decision
    question: PolicyQuestion
    others: tuple[Verdict, ...]
    layers: tuple[LayerVerdict, ...]
    transform: str | None
    policy_set_id: PolicySetId | None


class Outcome(Contract):
    """A verdict, what each layer said for it, what is done to the text, and the codes of the policies' reasons."""

    verdict: Verdict
    layers: tuple[LayerVerdict, ...] = ()
    transform: str | None = None
    reasons: tuple[str, ...] = ()


class ReplayedChange(Contract):
    """A decision that would be another."""

    decision_id: DecisionId
    decided_at: UtcTime
    effects: tuple[str, ...]
    before: Outcome
    after: Outcome


class Skipped(Contract):
    """A decision that cannot be asked again, and why."""

    decision_id: DecisionId
    why: NotReplayable


class ReplayPart(Contract):
    """What was found in some decisions, in their order."""

    identical: Count = 0
    changes: tuple[ReplayedChange, ...] = ()
    skipped: tuple[Skipped, ...] = ()


class PolicyReplayInput(Contract):
    """Argument of `policy.replay`. `candidates` names the policies to ask instead (`PolicyCandidates` as JSON); what was decided
    from `since` on, before `until`, is asked. `after` and `parts` are how far it got: the last decision, and what was found."""

    replay_id: PolicyReplayId
    actor: Actor
    candidates: BlobRef | None = None
    since: UtcTime | None = None
    until: UtcTime
    after: DecisionId | None = None
    parts: tuple[BlobRef, ...] = ()


class ReplayPartOutcome(Contract):
    """What was found in a part, and its last decision; both None when nothing was left to ask."""

    part: BlobRef | None = None
    after: DecisionId | None = None


class CloseReplayCall(Contract):
    """Argument of `policy.replay_close`."""

    replay_id: PolicyReplayId
    actor: Actor
    status: ReplayStatus
    parts: tuple[BlobRef, ...]


class ReplayCounts(Contract):
    """How many decisions there were, and what became of them."""

    decisions: Count = 0
    identical: Count = 0
    changed: Count = 0
    not_replayable: Count = 0


class PolicyReplayView(ReplayCounts):
    """A replay as it reads; the counts rise while it runs. `result_sha256` names what was found, once it has ended."""

    replay_id: PolicyReplayId
    workflow_id: str
    status: ReplayStatus
    since: UtcTime | None
    until: UtcTime
    result_sha256: Sha256 | None
    created_by: str
    created_at: UtcTime
    completed_at: UtcTime | None


def joined(parts: tuple[ReplayPart, ...]) -> ReplayPart:
    """One of several, in their order; it names the first `KEPT` changed decisions, and as many skipped ones."""
    return ReplayPart(
        identical=sum(part.identical for part in parts),
        changes=tuple(change for part in parts for change in part.changes)[:KEPT],
        skipped=tuple(skipped for part in parts for skipped in part.skipped)[:KEPT],
    )


def compared(recorded: Recorded, layers: PolicyLayers, engine: PolicyEngine) -> ReplayedChange | None:
    """What these policies change about a decision; None when the same comes out, to the letter."""
    was, now = before(recorded), after(recorded, layers, engine)
    if was == now:
        return None
    decision = recorded.decision
    return ReplayedChange(
        decision_id=decision.decision_id,
        decided_at=decision.decided_at,
        effects=recorded.question.actions,
        before=was,
        after=now,
    )


def read(found: RecordedDecision) -> Recorded | NotReplayable:
    """What is asked again of a recorded decision, or why nothing is."""
    decision, snapshot = found.decision, found.snapshot
    if any(reason.code in (ReasonCode.CHECKER_FAILED, ReasonCode.CONSTITUTION_UNAVAILABLE) for reason in decision.reasons):
        return NotReplayable.CHECK_FAILED
    if "layers" not in snapshot:
        return NotReplayable.RECORDED_BEFORE
    try:
        request = GateRequest.model_validate(snapshot["request"])
        opinions = [(each["checker"], Verdict(each["verdict"])) for each in snapshot["checkers"]]
        return Recorded(
            decision=decision,
            question=PolicyQuestion(
                actor=request.actor,
                actions=tuple(effect.value for effect in request.effects),
                resource=request.resource,
                facts=request.facts,
                score=snapshot["score"],
                region=request.region,
                categories=tuple(sorted({finding["category"] for finding in snapshot["findings"]})),
            ),
            others=tuple(verdict for checker, verdict in opinions if checker != _CHECKER),
            layers=tuple(LayerVerdict.model_validate(each) for each in snapshot["layers"]),
            transform=snapshot["transform"],
            policy_set_id=snapshot["tenant_policy_set"],
        )
    except (KeyError, TypeError, ValueError, ValidationError):
        return NotReplayable.RECORDED_BEFORE


def before(recorded: Recorded) -> Outcome:
    """What was decided."""
    return Outcome(
        verdict=recorded.decision.verdict,
        layers=recorded.layers,
        transform=recorded.transform,
        reasons=tuple(reason.code for reason in recorded.decision.reasons if reason.checker in _SPEAKERS),
    )


def after(recorded: Recorded, layers: PolicyLayers, engine: PolicyEngine) -> Outcome:
    """What these policies decide. Where another checker had denied they are not asked, then as now."""
    if not recorded.layers:
        return Outcome(verdict=recorded.decision.verdict, transform=recorded.transform)
    answer: PolicyAnswer = engine.evaluate(layers, recorded.question)
    return Outcome(
        verdict=strictest(*recorded.others, answer.verdict),
        layers=answer.layers,
        transform=answer.transform,
        reasons=tuple(reason.code for reason in answer.reasons),
    )
