"""Moderation: which rules of the constitution a text breaks."""

from __future__ import annotations

from typing import Protocol

from domain.base import Contract
from domain.constitution import ActiveConstitution, Direction, Severity


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
        """Every rule that the text breaks, each once; empty when none."""
        ...
