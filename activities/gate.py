"""The gate: every effect passes it. A list of checkers in order; the first denial ends it, the strictest verdict wins.

All of it takes two seconds at most. A checker that raises, is late or answers nonsense is a denial with its name: nothing
that goes wrong here ever allows. A checker that is not built yet is absent from the list.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

import rfc8785

from activities.checkers import (
    Case,
    Checker,
    IdentityChecker,
    KillSwitchChecker,
    ModerationChecker,
    Opinion,
    PolicyChecker,
)
from domain import redaction
from domain.blobs import BlobRef
from domain.constitution import ActiveConstitution, Direction
from domain.decisions import Decision, GateRequest, Reason, ReasonCode, Verdict, strictest
from domain.errors import ConstitutionUnavailable
from domain.ids import DecisionId
from domain.policy_sets import ActivePolicySet
from domain.ports.blobs import BlobStore
from domain.ports.constitution import ConstitutionSource
from domain.ports.identity import Standing
from domain.ports.kill_switches import Lease
from domain.ports.moderation import Moderator
from domain.ports.policy import PolicyEngine
from domain.ports.policy_sets import ActivePolicySets

GATE_SECONDS: Final = 2.0

_log = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")


@dataclass
class _Hearing:
    """What was said about one request so far. `speaker` is who is at fault when time runs out."""

    request: GateRequest
    direction: Direction
    speaker: str = "constitution"
    case: Case | None = None
    opinions: list[tuple[str, Verdict]] = field(default_factory=list[tuple[str, Verdict]])
    reasons: list[Reason] = field(default_factory=list[Reason])
    transformed: BlobRef | None = None

    @property
    def verdict(self) -> Verdict:
        return strictest(*(verdict for _, verdict in self.opinions))

    def note(self, verdict: Verdict, *reasons: Reason) -> None:
        self.opinions.append((self.speaker, verdict))
        self.reasons.extend(reasons)

    def deny(self, code: ReasonCode, message: str) -> None:
        self.note(Verdict.DENY, Reason(checker=self.speaker, code=code.value, message=message))

    def fail(self, error: object) -> None:
        # The error's own words may quote the text; its type does not.
        _log.error("The gate's checker %s failed with %s.", self.speaker, type(error).__name__)
        self.deny(ReasonCode.CHECKER_FAILED, f"The check of {self.speaker} failed, which is a denial; try again later.")


class Gate:
    """Decides about effects by the constitution in force."""

    def __init__(
        self,
        *,
        constitutions: ConstitutionSource,
        policy_sets: ActivePolicySets,
        standing: Standing,
        kill_switches: Lease,
        moderator: Moderator,
        policy: PolicyEngine,
        blobs: BlobStore,
        seconds: float = GATE_SECONDS,
    ) -> None:
        """`policy_sets` are the tenants' own policies; `blobs` holds the texts that requests name and takes the transformed ones;
        `seconds` bounds one decision."""
        self._constitutions = constitutions
        self._policy_sets = policy_sets
        self._blobs = blobs
        self._seconds = seconds
        self._checkers: Sequence[Checker] = (
            IdentityChecker(standing),
            KillSwitchChecker(kill_switches),
            ModerationChecker(moderator, blobs),
            PolicyChecker(policy),
        )

    async def decide(self, request: GateRequest, decision_id: DecisionId) -> tuple[Decision, dict[str, Any]]:
        """The decision on a request, and a snapshot: everything needed to decide again, and no text.

        Never raises for a checker's sake. Without a constitution that verifies it is a denial with the reason code
        `constitution-unavailable`.
        """
        return await self._judge(_Hearing(request, Direction.INPUT), decision_id)

    async def review_output(self, request: GateRequest, decision_id: DecisionId) -> tuple[Decision, dict[str, Any]]:
        """As `decide`, for a reply: `request.text` is the reply, and the rules for output hold."""
        return await self._judge(_Hearing(request, Direction.OUTPUT), decision_id)

    async def _judge(self, hearing: _Hearing, decision_id: DecisionId) -> tuple[Decision, dict[str, Any]]:
        try:
            async with asyncio.timeout(self._seconds):
                await self._hear(hearing)
        except TimeoutError as error:
            hearing.fail(error)
        decision = _decision(hearing, decision_id)
        return decision, _snapshot(hearing, decision)

    async def _hear(self, hearing: _Hearing) -> None:
        deadline = asyncio.get_running_loop().time() + self._seconds
        constitution = await _outcome(self._constitutions.current())
        if isinstance(constitution, ConstitutionUnavailable):
            return hearing.deny(ReasonCode.CONSTITUTION_UNAVAILABLE, constitution.detail)
        if not isinstance(constitution, ActiveConstitution):
            return hearing.fail(constitution)
        hearing.case = Case(hearing.request, hearing.direction, constitution)
        hearing.speaker = "tenant-policy"
        own = await _outcome(self._policy_sets.current(hearing.request.actor.tenant_id))
        if own is not None and not isinstance(own, ActivePolicySet):
            return hearing.fail(own)
        hearing.case = replace(hearing.case, own_policies=own)
        for checker in self._checkers:
            hearing.speaker = checker.name
            opinion = await _outcome(checker.check(hearing.case))
            # One that never awaits cannot be interrupted, so its lateness is noticed here.
            if asyncio.get_running_loop().time() > deadline:
                return hearing.fail(TimeoutError())
            if not isinstance(opinion, Opinion):
                return hearing.fail(opinion)
            hearing.case = opinion.case
            hearing.note(opinion.verdict, *opinion.reasons)
            if opinion.verdict is Verdict.DENY:
                return None
        return await self._transform(hearing, hearing.case)

    async def _transform(self, hearing: _Hearing, case: Case) -> None:
        if case.transform is None or case.text is None:
            return
        hearing.speaker = "transform"
        redacted = redaction.redact(case.text, case.findings, redaction.categories(case.transform))
        reference = await _outcome(self._blobs.put(case.request.actor.tenant_id, redacted.encode()))
        if isinstance(reference, BlobRef):
            hearing.transformed = reference
        else:
            hearing.fail(reference)


async def _outcome(work: Awaitable[_Answer]) -> _Answer | BaseException:
    """What the work returned, or what it raised. Our own cancellation passes through."""
    (outcome,) = await asyncio.gather(work, return_exceptions=True)
    return outcome


def _digest(hearing: _Hearing) -> str:
    document = {
        "direction": hearing.direction.value,
        "request": hearing.request.model_dump(mode="json"),
        "constitution_hash": hearing.case.constitution.hash if hearing.case else None,
    }
    return hashlib.sha256(rfc8785.dumps(document)).hexdigest()


def _decision(hearing: _Hearing, decision_id: DecisionId) -> Decision:
    case = hearing.case
    return Decision(
        decision_id=decision_id,
        verdict=hearing.verdict,
        reasons=tuple(hearing.reasons),
        score=case.score if case else 0,
        policy_digest=case.constitution.policy_digest if case else None,
        constitution_hash=case.constitution.hash if case else None,
        input_digest=_digest(hearing),
        transformed=hearing.transformed if hearing.verdict is not Verdict.DENY else None,
        decided_at=hearing.request.at,
        tenant_policy_digest=case.own_policies.digest if case and case.own_policies else None,
    )


def _snapshot(hearing: _Hearing, decision: Decision) -> dict[str, Any]:
    """With the constitution and the tenant's policies of those digests this is enough to ask the policies again (see
    `domain.policy_replays`); the text is named by its digest alone."""
    case = hearing.case
    matches = Counter((f.rule_id, f.category, f.severity.value) for f in (case.findings if case else ()))
    return {
        "direction": hearing.direction.value,
        "request": hearing.request.model_dump(mode="json"),
        "constitution_hash": decision.constitution_hash,
        "policy_digest": decision.policy_digest,
        "tenant_policy_digest": decision.tenant_policy_digest,
        "tenant_policy_set": case.own_policies.policy_set_id if case and case.own_policies else None,
        "layers": [said.model_dump(mode="json") for said in case.layers] if case else [],
        "checkers": [{"checker": name, "verdict": verdict.value} for name, verdict in hearing.opinions],
        "findings": [
            {"rule_id": rule, "category": category, "severity": severity, "matches": count}
            for (rule, category, severity), count in matches.items()
        ],
        "score": decision.score,
        "transform": case.transform if case else None,
        "transformed_sha256": decision.transformed.sha256 if decision.transformed else None,
        "verdict": decision.verdict.value,
    }
