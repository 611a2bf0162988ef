"""Where the active constitution comes from."""

from __future__ import annotations

from typing import Any, Protocol

from domain.constitution import ActiveConstitution, Constitution


class ConstitutionSource(Protocol):
    """The constitution in force, verified."""

    async def current(self) -> ActiveConstitution:
        """The active constitution. Raises ConstitutionUnavailable when none verifies; it never invents one."""
        ...

    async def refreshed(self) -> ActiveConstitution:
        """As `current`, from an answer of the origin that is a second old at most."""
        ...


class ConstitutionStore(Protocol):
    """Signed constitutions as kept in Postgres."""

    async def active(self) -> dict[str, Any] | None:
        """The DSSE envelope activated last, or None."""
        ...

    async def activate(self, hash_: str, version: int, envelope: dict[str, Any]) -> None:
        """Stores the envelope under the hash of its document and makes it the active one; again is harmless."""
        ...


class ConstitutionArchive(Protocol):
    """Constitutions that were in force once."""

    async def document(self, hash_: str) -> Constitution | None:
        """The one of that hash, or None when it is not kept."""
        ...
