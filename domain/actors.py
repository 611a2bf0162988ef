"""Who asks: the verified claims of an access token, never the token itself."""

from __future__ import annotations

from pydantic import Field

from domain.base import Contract, TenantId, UtcTime
from domain.ids import ApiKeyId, SessionId


class Ancestor(Contract):
    """A token that another was delegated from: who acts in it, which client holds it, when it was issued."""

    jti: str = Field(max_length=64)
    client_id: str = Field(max_length=64)
    subject: str = Field(max_length=200)
    issued_at: UtcTime


class Actor(Contract):
    """Verified claims (RFC 9068), or what an API key stands for. `act` is the delegation chain of RFC 8693, nearest actor
    first, and `ancestors` are the tokens it was delegated from: it stands while all of them do. `session_id` binds a capability
    token to one session: it opens nothing else. `key_id` is the API key that was used, also of a capability token that was made
    for it: the authority ends with the key. `issued_at` is when the token was issued, or the key made: a revocation refuses what
    is older. `expires_at` is when the token expires; what is delegated from it does so no later. `amr` is how a person proved who
    they are (RFC 8176); nobody else has one."""

    tenant_id: TenantId
    subject: str = Field(max_length=200)
    client_id: str = Field(max_length=64)
    scopes: tuple[str, ...]
    jti: str = Field(max_length=64)
    act: tuple[str, ...] = ()
    constitution_hash: str | None = None
    session_id: SessionId | None = None
    key_id: ApiKeyId | None = None
    issued_at: UtcTime | None = None
    ancestors: tuple[Ancestor, ...] = ()
    expires_at: UtcTime | None = None
    amr: tuple[str, ...] = ()

    @property
    def caller(self) -> str:
        """Who asks, of those who share a tenant: a client, or each subject it speaks for. People share one client."""
        return self.client_id if self.subject == self.client_id else f"{self.client_id}/{self.subject}"
