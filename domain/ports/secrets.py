"""Secrets by name: keys and passwords that a store keeps for us."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Protocol

from pydantic import SecretStr, StringConstraints

SecretName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)*$", max_length=120)]
"""Lower-case words, parted by `/`: `models/openai`."""


@dataclass(frozen=True)
class Secret:
    """A secret as its store gave it. Neither `repr` nor a log shows the value."""

    name: str
    value: SecretStr
    version: str
    """Differs from that of every other value the name had; never made from the value."""
    lease_seconds: float | None = None
    """How long the store lets it be used from when it was read; None where the store sets no bound."""


class Secrets(Protocol):
    """A store of secrets. A value is used for the call it was read for and read anew for the next."""

    async def read(self, name: str) -> Secret:
        """The secret's current version.

        Raises SecretMissing, SecretDenied, SecretStoreSealed, SecretStoreUnreachable, whose words never hold a value.
        """
        ...

    async def aclose(self) -> None:
        """Forgets what is cached and ends connections."""
        ...
