"""What a tour leaves: one record a step, of what was really seen."""

from __future__ import annotations

from pydantic import Field

from domain.base import Contract
from domain.errors import DomainError

Fact = str | int | list[str] | None
"""Something seen."""


class NotSeen(DomainError):
    """Something the tour expected did not happen; the message says what happened instead."""

    type, title = "not-seen", "Not seen"


class Step(Contract):
    """One step: what was to be seen, whether it was, and what was. `trouble` says what was seen instead."""

    name: str
    title: str
    expected: str
    seen: bool
    workflow_id: str | None = None
    temporal_url: str | None = None
    facts: dict[str, Fact] = Field(default_factory=dict[str, Fact])
    trouble: str | None = None
    seconds: float


class TourRecord(Contract):
    """The whole tour. `ok` only if every step was seen."""

    ok: bool
    seconds: float
    steps: tuple[Step, ...]
