"""Capabilities and roles in a body, and who may make credentials."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from domain import api_keys
from domain.actors import Actor
from domain.capabilities import LONGEST_CAPABILITY, Capability
from domain.errors import Forbidden
from domain.names import Scope
from domain.roles import RoleName

MOST_CAPABILITIES: Final = 100
MOST_ROLES: Final = 20
_PATTERN: Final = rf"^({'|'.join(Scope)})(:([A-Za-z0-9_./-]+\*?|\*))?$"

Capabilities = Annotated[
    tuple[Annotated[Capability, Field(max_length=LONGEST_CAPABILITY, json_schema_extra={"pattern": _PATTERN})], ...],
    Field(max_length=MOST_CAPABILITIES),
]
"""Scopes, each with a pattern or without."""

RoleNames = Annotated[tuple[RoleName, ...], Field(max_length=MOST_ROLES)]
"""Names of roles, built in or the tenant's own."""


def check_lasting(actor: Actor) -> None:
    """Raises Forbidden for an API key or a delegated token: what it makes would outlive it."""
    if api_keys.key_of(actor) is not None or actor.act:
        raise Forbidden(
            "An API key or a delegated token makes no credentials, which would outlive it; use a token of the client."
        )
