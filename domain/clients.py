"""Clients: programs that ask for tokens with a secret. What a client may do are its own scopes and those of its roles.

A secret is 256 random bits, shown once; what is kept is its digest, and where it stands in a history it is called so.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Final
from uuid import UUID

from pydantic import Field

from domain.actors import Actor
from domain.base import Contract, Count, Sha256, UtcTime
from domain.blobs import BlobRef
from domain.capabilities import Capability
from domain.ids import ClientId
from domain.roles import RoleName

RANDOM_BYTES: Final = 32
LONGEST_OVERLAP_SECONDS: Final = 7 * 86_400

Overlap = Annotated[int, Field(ge=0, le=LONGEST_OVERLAP_SECONDS)]
"""Seconds that the former secret still opens after a rotation."""


def digest(secret: str) -> str:
    """How a secret is kept: lower-case hex of its SHA-256."""
    return hashlib.sha256(secret.encode()).hexdigest()


class ClientView(Contract):
    """A client as it reads; never its secret. `capabilities` is what scopes and roles open together."""

    client_id: ClientId
    name: str
    scopes: tuple[str, ...]
    roles: tuple[str, ...]
    capabilities: tuple[str, ...]
    disabled: bool
    version: Count
    created_by: str | None
    created_at: UtcTime
    updated_at: UtcTime
    disabled_at: UtcTime | None
    former_secret_until: UtcTime | None


class ClientInput(Contract):
    """Argument of `client.create`."""

    client_id: ClientId
    actor: Actor
    name: BlobRef
    digest: Sha256
    scopes: tuple[Capability, ...] = ()
    roles: tuple[RoleName, ...] = ()


class ClientOutcome(Contract):
    """Result of `client.create` and `client.rotate`: the digest that stands in the row, of the first attempt's secret."""

    digest: Sha256


class ClientChangeInput(Contract):
    """Argument of `client.change`: what is None stays. `expected` are the versions it may be made of; None: any."""

    change_id: UUID
    client_id: ClientId
    actor: Actor
    name: BlobRef | None = None
    scopes: tuple[Capability, ...] | None = None
    roles: tuple[RoleName, ...] | None = None
    expected: tuple[int, ...] | None = None


class ClientRotationInput(Contract):
    """Argument of `client.rotate`."""

    change_id: UUID
    client_id: ClientId
    actor: Actor
    digest: Sha256
    overlap_seconds: Overlap = 0


class ClientDisablingInput(Contract):
    """Argument of `client.disable`."""

    client_id: ClientId
    actor: Actor
