"""API keys: static bearers for programs that cannot fetch tokens. What is kept is a digest; the key itself is shown once.

A key is 256 random bits, so a plain SHA-256 holds it: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import re
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from domain.actors import Actor
from domain.base import Contract, Sha256, UtcTime
from domain.blobs import BlobRef
from domain.capabilities import Capability
from domain.ids import ApiKeyId

API_KEY_PREFIX: Final = "soma_sk_"
RANDOM_BYTES: Final = 32
LONGEST_LIFE_SECONDS: Final = 10 * 365 * 86_400

_KEY_ID: Final = re.compile(r"^key_[0-9a-f]{32}\Z")
_API_KEY: Final = re.compile(rf"^{API_KEY_PREFIX}[A-Za-z0-9_-]{{43}}\Z")

Lifetime = Annotated[int, Field(ge=1, le=LONGEST_LIFE_SECONDS)]
"""Seconds from a key's making to its expiry."""


def is_api_key(bearer: str) -> bool:
    """Whether a bearer has the form of a key."""
    return _API_KEY.match(bearer) is not None


def written(random: str) -> str:
    """A key from the base64url of its random bytes."""
    return f"{API_KEY_PREFIX}{random}"


def digest(key: str) -> str:
    """How a key is kept and found: lower-case hex of its SHA-256."""
    return hashlib.sha256(key.encode()).hexdigest()


def hint(key: str) -> str:
    """What is shown of a key later, to tell it from others: its last four characters."""
    return f"{API_KEY_PREFIX}…{key[-4:]}"


def key_of(actor: Actor) -> str | None:
    """The key an actor's authority comes from and ends with, if it comes from one."""
    return actor.key_id or (actor.jti if _KEY_ID.match(actor.jti) else None)


class ApiKeyStatus(StrEnum):
    """Only `active` opens anything."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


class ApiKeyView(Contract):
    """A key as it reads. It acts as its client, with these scopes. `last_used_at` is right to the minute."""

    key_id: ApiKeyId
    client_id: str
    name: str
    hint: str
    scopes: tuple[str, ...]
    status: ApiKeyStatus
    created_by: str
    created_at: UtcTime
    expires_at: UtcTime | None
    last_used_at: UtcTime | None
    revoked_at: UtcTime | None


class ApiKeyInput(Contract):
    """Argument of `api_key.create`. The key acts for the actor's client, with no scope that the actor lacks."""

    key_id: ApiKeyId
    actor: Actor
    name: BlobRef
    key_sha256: Sha256
    hint: str = Field(max_length=16)
    scopes: tuple[Capability, ...] = Field(min_length=1)
    lifetime_seconds: Lifetime | None = None
    """None for a key that does not expire."""


class ApiKeyOutcome(Contract):
    """Result of `api_key.create`: the digest that stands in the row, which is that of the first attempt's key."""

    key_sha256: Sha256


class ApiKeyRevocationInput(Contract):
    """Argument of `api_key.revoke`."""

    key_id: ApiKeyId
    actor: Actor
