"""The policy engine: one question, one answer, and every error a denial."""

from __future__ import annotations

from typing import Protocol

from pydantic import Field

from domain.actors import Actor
from domain.base import Contract
from domain.decisions import Facts, Reason, Verdict
from domain.policy_sets import LayerVerdict, PolicyFault, PolicyLayers


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

    It comes with the verdict `transform`, and with `escalate` when a policy that permits also transforms. `layers` says what each
    layer said by itself.
    """

    verdict: Verdict
    reasons: tuple[Reason, ...]
    transform: str | None = None
    layers: tuple[LayerVerdict, ...] = ()


class PolicyEngine(Protocol):
    """Decides by policies, one layer after the other."""

    def evaluate(self, layers: PolicyLayers, question: PolicyQuestion) -> PolicyAnswer:
        """The strictest verdict, over actions and layers, of the policies that determined the answers, with the reasons and
        instructions of all. Both layers must permit. An evaluation error is a denial."""
        ...

    def check(self, policies: str) -> tuple[PolicyFault, ...]:
        """What is wrong with the policies (syntax, schema, unknown verdicts); empty when nothing is."""
        ...

    def count(self, policies: str) -> int:
        """How many policies the text holds. Raises ValueError when something is wrong with it."""
        ...

    def digest(self, policies: str) -> str:
        """SHA-256 over policies and schema."""
        ...
