"""What the OAuth endpoints answer: tokens, and the errors of RFC 6749, 5.2."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from api.problems import problems
from domain.base import Contract

ACCESS: Final = "urn:ietf:params:oauth:token-type:access_token"
"""The one type of token that is taken and issued (RFC 8693, 3)."""


class AccessToken(Contract):
    """A token (RFC 6749, 5.1); `expires_in` is in seconds."""

    access_token: str = Field(examples=["eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCJ9…"])
    token_type: str = Field(default="Bearer", examples=["Bearer"])
    expires_in: int = Field(examples=[900])
    scope: str = Field(examples=["session:start session:read"])


class DelegatedToken(AccessToken):
    """A token that was delegated from another (RFC 8693, 2.2.1)."""

    issued_token_type: str = Field(examples=[ACCESS])


class OAuthError(Contract):
    """Why there is no token (RFC 6749, 5.2)."""

    error: str = Field(examples=["invalid_client"])
    error_description: str = Field(examples=["The client is unknown or its secret is wrong."])


class Refused(Exception):
    """Becomes an OAuthError."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        """`error` is a code of RFC 6749, 5.2 or RFC 8707, 2; `description` says what is wrong and what to do."""
        super().__init__(error)
        self.body: Final = OAuthError(error=error, error_description=description)
        self.status: Final = status


ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": OAuthError, "description": "The request is wrong (RFC 6749, 5.2)"},
    401: {"model": OAuthError, "description": "The client is unknown, disabled or its secret wrong"},
    **problems(413, 429, 503),
}
