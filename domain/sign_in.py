"""Logging in: the authorization code grant with PKCE (RFC 6749, 4.1; RFC 7636; RFC 9700) for people.

There is one public client, the command line; it has no secret and listens on a loopback port of its own choice (RFC 8252, 7.3).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from domain.base import Contract, Count, Sha256, TenantId
from domain.ids import LoginId, UserId

SOMA_CLI: Final = "soma-cli"
PUBLIC_CLIENTS: Final[dict[str, str]] = {SOMA_CLI: "the soma command on this computer"}
"""Clients that keep no secret, and how the log-in page calls them."""

METHODS: Final = ("pwd", "otp", "mfa")
"""`amr` (RFC 8176) of everybody who logs in here: a password and a one-time password, which makes several factors."""
MFA: Final = "mfa"

SIGN_IN_SECONDS: Final = 600
"""How long a log-in page can be sent off."""
CODE_SECONDS: Final = 60
"""How long an authorization code can be redeemed; RFC 6749 allows ten minutes, and a program needs none."""

FREE_FAILURES: Final = 4
FREE_FAILURES_BY_ADDRESS: Final = 30
FIRST_LOCK_SECONDS: Final = 15
LONGEST_LOCK_SECONDS: Final = 900
FORGOTTEN_AFTER_SECONDS: Final = 86_400

_LOOPBACK: Final = re.compile(r"http://(?:127\.0\.0\.1|\[::1\]):([1-9][0-9]{0,4})/callback\Z")
_CODE: Final = re.compile(r"soma_code_([a-z0-9][a-z0-9-]{0,47})\.([A-Za-z0-9_-]{43})\Z")

Challenge = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$")]
"""S256 of a verifier (RFC 7636, 4.2)."""
_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}\Z")


class AuthorizationRequest(Contract):
    """What a client asked the authorization endpoint for, checked."""

    client_id: str = Field(max_length=64)
    redirect_uri: str = Field(max_length=200)
    code_challenge: Challenge
    scope: str = Field(max_length=4000)
    state: str | None = Field(default=None, max_length=500)


class LoginRecord(Contract):
    """What a user logs in with. `sealed_seed` is the TOTP seed as `Sealer` sealed it; `step` is the last one used."""

    user_id: UserId
    login_id: LoginId
    password_hash: str = Field(repr=False)
    sealed_seed: bytes = Field(repr=False)
    step: Count | None
    roles: tuple[str, ...]


class GrantedCode(Contract):
    """What an authorization code stands for, once it was redeemed."""

    tenant_id: TenantId
    user_id: UserId
    scope: str
    roles: tuple[str, ...]


class IssuedCode(Contract):
    """An authorization code to keep, by its digest."""

    code_sha256: Sha256
    request: AuthorizationRequest


def allows_redirect(client_id: str, redirect_uri: str) -> bool:
    """Whether a known client may be answered there: by IP literal on loopback, on any port, at `/callback` (RFC 8252, 7.3)."""
    match = _LOOPBACK.match(redirect_uri)
    return client_id in PUBLIC_CLIENTS and match is not None and int(match[1]) < 65_536


def verifies(challenge: str, verifier: str) -> bool:
    """Whether S256 of the verifier is the challenge (RFC 7636, 4.6). A verifier that RFC 7636 does not allow is none."""
    if _VERIFIER.match(verifier) is None:
        return False
    digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    return hmac.compare_digest(digest, challenge)


def lock_seconds(failures: int, free: int = FREE_FAILURES) -> int:
    """How long nobody may try after that many failures: none for the first few, then twice as long each time, up to a bound."""
    if failures <= free:
        return 0
    return min(LONGEST_LOCK_SECONDS, FIRST_LOCK_SECONDS << min(failures - free - 1, 16))


def written_code(tenant_id: str, random: str) -> str:
    """An authorization code from the base64url of 32 random bytes. It names its tenant, in which it is looked up."""
    return f"soma_code_{tenant_id}.{random}"


def tenant_of_code(code: str) -> str | None:
    """The tenant a code names; None for what is no code."""
    match = _CODE.match(code)
    return match[1] if match else None
