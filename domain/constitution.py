"""The constitution: principles, moderation rules, Cedar policies, weights and limits in one signed, hashed document.

The hash is the SHA-256 of the document's canonical JSON (RFC 8785); it travels in a DSSE envelope. Every decision and
every token names it. This module holds the shape alone; `adapters` verify, hash and cache it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from domain.base import Contract, Sha256, UtcTime

PAYLOAD_TYPE: Final = "application/vnd.somagent.constitution+json"
"""DSSE payload type."""

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$")]


class Severity(StrEnum):
    """How bad a moderation hit is. `low` warns, `medium` escalates, `high` and `critical` deny."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Direction(StrEnum):
    """What a rule looks at."""

    INPUT = "input"
    OUTPUT = "output"
    BOTH = "both"


class ModerationRule(Contract):
    """One category's patterns: RE2 syntax over the folded text, matched at word boundaries; a blank stands for any gap.

    `exceptions` are patterns of harmless phrases ("bath bomb"), blotted out before this rule reads the text.
    """

    id: Slug
    category: Slug
    severity: Severity
    direction: Direction = Direction.BOTH
    patterns: tuple[str, ...] = Field(min_length=1)
    message: str = Field(max_length=300)
    exceptions: tuple[str, ...] = ()


class Principle(Contract):
    """A sentence the platform stands by."""

    id: Slug
    title: str
    body: str


class Weights(Contract):
    """Weights of the score, in points of 1000 at the fact's `…_full` value (see `domain.scoring`)."""

    text_bytes: int = Field(default=200, ge=0, le=1000)
    text_bytes_full: int = Field(default=100_000, ge=1)
    documents: int = Field(default=200, ge=0, le=1000)
    documents_full: int = Field(default=20, ge=1)
    document_bytes: int = Field(default=200, ge=0, le=1000)
    document_bytes_full: int = Field(default=20_000_000, ge=1)
    turn: int = Field(default=100, ge=0, le=1000)
    turn_full: int = Field(default=500, ge=1)
    moderation_low: int = Field(default=300, ge=0, le=1000)
    moderation_low_full: int = Field(default=3, ge=1)


class Limits(Contract):
    """Bounds the platform keeps to."""

    prompt_bytes: int = Field(default=200_000, ge=1)
    documents_per_session: int = Field(default=50, ge=0)
    queued_turns: int = Field(default=32, ge=1, le=32)
    output_tokens: int = Field(default=1024, ge=1, le=100_000)


class Constitution(Contract):
    """The document that is signed. `policies` is Cedar text, checked against the platform's schema when it is loaded."""

    version: int = Field(ge=1)
    issued_at: UtcTime
    expires_at: UtcTime | None = None
    title: str
    principles: tuple[Principle, ...] = Field(min_length=1)
    moderation: tuple[ModerationRule, ...]
    policies: str
    weights: Weights = Weights()
    limits: Limits = Limits()


class ActiveConstitution(Contract):
    """A verified constitution with the digests that decisions name. `policy_digest` covers the Cedar text and schema."""

    document: Constitution
    hash: Sha256
    policy_digest: Sha256
    key_id: str
