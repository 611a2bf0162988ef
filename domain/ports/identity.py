"""Clients and the tokens they hold."""

from __future__ import annotations

from typing import Any, Protocol

from domain.actors import Actor
from domain.base import Contract


class ClientRecord(Contract):
    """A client as the token endpoint sees it. `scopes` are its own and those of its roles; one whose tenant was deleted is
    disabled. The former secret is there while it still opens, after a rotation."""

    client_id: str
    tenant_id: str
    secret_sha256: str
    scopes: tuple[str, ...]
    disabled: bool
    former_secret_sha256: str | None = None


class ClientDirectory(Protocol):
    """Looks a client up before any tenant is known; the token endpoint's own database role."""

    async def find(self, client_id: str) -> ClientRecord | None:
        """The client, or None."""
        ...


class Standing(Protocol):
    """Whether an actor's authority still stands, asked again by runs that outlive the token."""

    async def stands(self, actor: Actor) -> bool:
        """False once the token or one it was delegated from was revoked, a client that holds one of them is disabled or gone (or
        its tenant is) or no longer has the scopes, or the API key ended."""
        ...


class Tokens(Protocol):
    """Mints and verifies access tokens (RFC 9068)."""

    def mint(
        self,
        *,
        tenant_id: str,
        subject: str,
        client_id: str,
        scopes: tuple[str, ...],
        constitution_hash: str | None,
        claims: dict[str, Any] | None = None,
    ) -> tuple[str, int]:
        """A signed token and its lifetime in seconds."""
        ...

    def sign(self, actor: Actor) -> str:
        """A token that says exactly what the actor does: of one that was delegated. Raises ValueError for one that does not
        say when it was issued and when it expires."""
        ...

    def verify(self, token: str) -> Actor:
        """The claims as an Actor. Raises Unauthenticated."""
        ...

    def jwks(self) -> dict[str, Any]:
        """The public keys (RFC 7517)."""
        ...
