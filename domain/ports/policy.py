"""The policy engine: one question, one answer, and every error a denial."""

from __future__ import annotations

from typing import Protocol

from pydantic import Field

from domain.actors import Actor
from domain.base import Contract
from domain.constitution import ActiveConstitution, Constitution
from domain.decisions import Facts, Reason, Verdict


class PolicyQuestion(Contract):
    """May this actor do all of these actions on this resource, with these facts?

    `actions` are values of `Effect`, `score` is 0..1000, `categories` are those of the moderation findings.
    """

    actor: Actor
    actions: tuple[str, ...] = Field(min_length=1)
    resource: str
    facts: Facts
    score: int
    region: str
    categories: tuple[str, ...] = ()


class PolicyAnswer(Contract):
    """`transform` names what is to be done to the text: instructions `redact:<category>`, separated by one space.

    It comes with the verdict `transform`, and with `escalate` when a policy that permits also transforms.
    """

    verdict: Verdict
    reasons: tuple[Reason, ...]
    transform: str | None = None


class PolicyEngine(Protocol):
    """Decides by the constitution's policies."""

    def evaluate(self, constitution: ActiveConstitution, question: PolicyQuestion) -> PolicyAnswer:
        """The strictest verdict, over the actions, of the policies that determined the answers, with the reasons and instructions
        of all. An evaluation error is a denial."""
        ...

    def check(self, constitution: Constitution) -> tuple[str, ...]:
        """What is wrong with the policies (syntax, schema, unknown verdicts); empty when nothing is."""
        ...

    def digest(self, constitution: Constitution) -> str:
        """SHA-256 over policies and schema."""
        ...
