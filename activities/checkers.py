"""The gate's checkers: identity and capability, kill switches, moderation, policy. Each looks at one case and gives one opinion.

A checker raises on whatever it cannot make sense of; the gate makes a denial of it. Nothing here is a pass by default.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Final, Protocol, cast

from domain import capabilities, redaction
from domain.constitution import ActiveConstitution, Direction, Severity
from domain.decisions import GateRequest, Reason, ReasonCode, Verdict, strictest
from domain.errors import StoppedByKillSwitch
from domain.kill_switches import act_of
from domain.policy_sets import ActivePolicySet, LayerVerdict, PolicyLayers
from domain.ports.blobs import BlobStore
from domain.ports.identity import Standing
from domain.ports.kill_switches import Lease
from domain.ports.moderation import Finding, Moderator
from domain.ports.policy import PolicyAnswer, PolicyEngine, PolicyQuestion
from domain.scoring import score

IN_THREAD_BYTES: Final = 8_192
"""A longer text is reviewed in a thread: at about 0.2 µs a byte the event loop would wait for milliseconds."""

LEASE_PATIENCE_SECONDS: Final = 1.0
"""How long a lease that has just run out is waited for: half of what the gate has."""

_VERDICTS: Final = {
    Severity.LOW: Verdict.WARN,
    Severity.MEDIUM: Verdict.ESCALATE,
    Severity.HIGH: Verdict.DENY,
    Severity.CRITICAL: Verdict.DENY,
}


@dataclass(frozen=True)
class Case:
    """A question and what is known about it so far; each checker hands on what it found out."""

    request: GateRequest
    direction: Direction
    constitution: ActiveConstitution
    text: str | None = None
    findings: tuple[Finding, ...] = ()
    score: int = 0
    transform: str | None = None
    own_policies: ActivePolicySet | None = None
    layers: tuple[LayerVerdict, ...] = ()


@dataclass(frozen=True)
class Opinion:
    """One checker's answer: a verdict, its reasons, and the case for the next checker."""

    verdict: Verdict
    reasons: tuple[Reason, ...]
    case: Case


class Checker(Protocol):
    """One link of the gate."""

    @property
    def name(self) -> str:
        """Its name in reasons and snapshots."""
        ...

    async def check(self, case: Case) -> Opinion:
        """Its opinion. Whatever it raises is a denial."""
        ...


class NonsenseError(Exception):
    """A port answered what its contract does not allow."""


class IdentityChecker:
    """Identity and capability: the actor is of this tenant, holds the scopes the effects need, and still stands."""

    name = "identity"

    def __init__(self, standing: Standing) -> None:
        """`standing` is asked every time: a run may have outlived its token."""
        self._standing = standing

    async def check(self, case: Case) -> Opinion:
        """Deny or allow."""
        request, actor = case.request, case.request.actor
        parts = request.workflow_id.split("/")
        if len(parts) < 3 or parts[1] != actor.tenant_id:
            return self._denial(case, ReasonCode.FOREIGN_TENANT, "The run belongs to another tenant.")
        if actor.session_id is not None and actor.session_id != request.resource:
            return self._denial(case, ReasonCode.SCOPE_MISSING, "The token is bound to another session.")
        lacking = capabilities.missing(request.effects, actor.scopes, request.resource, request.facts.model_role or None)
        if lacking:
            names = ", ".join(effect.value for effect in lacking)
            return self._denial(case, ReasonCode.SCOPE_MISSING, f"No scope of the token covers {names} here.")
        stands: object = await self._standing.stands(actor)
        if stands is True:
            return Opinion(Verdict.ALLOW, (), case)
        if stands is False:
            return self._denial(case, ReasonCode.NOT_STANDING, "The client is disabled or no longer has these scopes.")
        raise NonsenseError("standing is neither true nor false")

    def _denial(self, case: Case, code: ReasonCode, message: str) -> Opinion:
        return Opinion(Verdict.DENY, (Reason(checker=self.name, code=code.value, message=message),), case)


class KillSwitchChecker:
    """No kill switch is engaged that means this."""

    name = "kill-switch"

    def __init__(self, lease: Lease) -> None:
        """`lease` is what this process knows of the switches."""
        self._lease = lease

    async def check(self, case: Case) -> Opinion:
        """Deny or allow. Raises KillSwitchUnreadable without a live lease."""
        request = case.request
        act = act_of(request.actor, request.workflow_id.partition("/")[0], request.region)
        await self._lease.ready(LEASE_PATIENCE_SECONDS)
        try:
            answer: object = self._lease.check(act)
        except StoppedByKillSwitch as stopped:
            reason = Reason(checker=self.name, code=ReasonCode.KILL_SWITCH.value, message=stopped.detail)
            return Opinion(Verdict.DENY, (reason,), case)
        if answer is not None:
            raise NonsenseError("a lease answers nothing where nothing is stopped")
        return Opinion(Verdict.ALLOW, (), case)


class ModerationChecker:
    """The constitution's rules on the text: low severity warns, medium escalates, high and critical deny."""

    name = "moderation"

    def __init__(self, moderator: Moderator, blobs: BlobStore) -> None:
        """`blobs` holds the text that the request names."""
        self._moderator = moderator
        self._blobs = blobs

    async def check(self, case: Case) -> Opinion:
        """The strictest verdict of the rules that the text breaks. The case then has text, findings and score."""
        reference, limits = case.request.text, case.constitution.document.limits
        if reference is None:
            return Opinion(Verdict.ALLOW, (), self._scored(case))
        if case.direction is Direction.INPUT and reference.size > limits.prompt_bytes:
            message = f"The text has {reference.size} bytes; the constitution allows {limits.prompt_bytes}."
            return Opinion(Verdict.DENY, (self._reason(ReasonCode.TEXT_TOO_LARGE.value, message),), self._scored(case))
        text = (await self._blobs.get(case.request.actor.tenant_id, reference.sha256)).decode()
        arguments = (case.constitution, text, case.direction)
        findings: object = (
            await asyncio.to_thread(self._moderator.review, *arguments)
            if reference.size > IN_THREAD_BYTES
            else self._moderator.review(*arguments)
        )
        checked = checked_findings(findings, text)
        broken = {finding.rule_id: finding for finding in checked}
        return Opinion(
            strictest(*(_VERDICTS[finding.severity] for finding in broken.values())),
            tuple(self._reason(finding.rule_id, finding.message) for finding in broken.values()),
            self._scored(replace(case, text=text, findings=checked)),
        )

    @staticmethod
    def _scored(case: Case) -> Case:
        low = {finding.rule_id for finding in case.findings if finding.severity is Severity.LOW}
        return replace(case, score=score(case.request.facts, case.constitution.document.weights, len(low)))

    def _reason(self, code: str, message: str) -> Reason:
        return Reason(checker=self.name, code=code, message=message)


def checked_findings(answer: object, text: str) -> tuple[Finding, ...]:
    """The findings of a moderator in a text. Raises NonsenseError when the answer is anything else."""
    if not isinstance(answer, tuple):
        raise NonsenseError("findings are no tuple")
    checked: list[Finding] = []
    for finding in cast("tuple[object, ...]", answer):
        if not isinstance(finding, Finding) or not 0 <= finding.start < finding.end <= len(text):
            raise NonsenseError("something is no finding in the text")
        checked.append(finding)
    return tuple(checked)


def _answer(said: object) -> PolicyAnswer:
    if not isinstance(said, PolicyAnswer):
        raise NonsenseError("no policy answer")
    return PolicyAnswer.model_validate(said.model_dump(warnings=False))


class PolicyChecker:
    """The constitution's policies and the tenant's own, asked for every effect of the request."""

    name = "policy"

    def __init__(self, engine: PolicyEngine) -> None:
        """`engine` decides without I/O."""
        self._engine = engine

    async def check(self, case: Case) -> Opinion:
        """The strictest verdict over effects and layers. The case then says how the text is to be transformed."""
        answer = _answer(self._engine.evaluate(layers_of(case), question(case)))
        if answer.verdict is not Verdict.ALLOW and not answer.reasons:
            raise NonsenseError("a verdict without a reason")
        if answer.verdict is Verdict.TRANSFORM and answer.transform is None:
            raise NonsenseError("a transform without an instruction")
        if answer.transform is not None:
            redaction.categories(answer.transform)
        return Opinion(answer.verdict, answer.reasons, replace(case, transform=answer.transform, layers=answer.layers))


def layers_of(case: Case) -> PolicyLayers:
    """The policies that a case is decided by."""
    own = case.own_policies.text if case.own_policies is not None else None
    return PolicyLayers(constitution=case.constitution.document.policies, tenant=own)


def question(case: Case) -> PolicyQuestion:
    """What the policies are asked about a case."""
    return PolicyQuestion(
        actor=case.request.actor,
        actions=tuple(effect.value for effect in case.request.effects),
        resource=case.request.resource,
        facts=case.request.facts,
        score=case.score,
        region=case.request.region,
        categories=tuple(sorted({finding.category for finding in case.findings})),
    )
