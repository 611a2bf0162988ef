"""Moderation: which rules of the constitution a text breaks."""

from __future__ import annotations

from typing import Protocol

from domain.base import Contract
from domain.constitution import ActiveConstitution, Constitution, Direction, Severity


class Finding(Contract):
    """A rule that matched; `start` and `end` count characters of the original text."""

    rule_id: str
    category: str
    severity: Severity
    message: str
    start: int
    end: int


class Moderator(Protocol):
    """Reviews a text by the constitution's rules, in linear time."""

    def review(self, constitution: ActiveConstitution, text: str, direction: Direction) -> tuple[Finding, ...]:
        """Every match of every rule, in the order of the text; empty when there is none. Pure, and safe in any thread."""
        ...

    def check(self, constitution: Constitution) -> tuple[str, ...]:
        """What is wrong with the rules (patterns that do not compile, ids twice); empty when nothing is."""
        ...
