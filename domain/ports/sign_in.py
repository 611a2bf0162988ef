"""The state of logging in: pages that were shown, attempts that are counted, codes that were given. All of it is short-lived."""

from __future__ import annotations

from typing import Protocol

from domain.names import LoginFailure
from domain.sign_in import AuthorizationRequest, GrantedCode, IssuedCode, LoginRecord


class SignIns(Protocol):
    """Log-in pages that were shown. They belong to no tenant yet."""

    async def begin(self, sign_in_sha256: str, browser_sha256: str, request: AuthorizationRequest) -> None:
        """Keeps what was asked for, for as long as the page can be sent off."""
        ...

    async def find(self, sign_in_sha256: str, browser_sha256: str) -> AuthorizationRequest | None:
        """What that page was shown for, when that browser was shown it and it has not expired."""
        ...

    async def finish(self, sign_in_sha256: str) -> bool:
        """Ends it; False when it has ended already. Of several at once one gets True."""
        ...


class Logins(Protocol):
    """Attempts to log in as somebody, and their outcome."""

    async def attempt(self, tenant_id: str, name_sha256: str, address_sha256: str) -> int:
        """Counts an attempt as failed before it is looked at, so that many at once count too. The seconds for which neither that
        name nor that address may try; 0 for an attempt that may go on."""
        ...

    async def find(self, tenant_id: str, name_key: str) -> LoginRecord | None:
        """What an active user of that name logs in with; None for everybody else."""
        ...

    async def failed(self, tenant_id: str, user_id: str, reason: LoginFailure) -> None:
        """Tells of a failed attempt."""
        ...

    async def succeeded(
        self, tenant_id: str, name_sha256: str, address_sha256: str, login: LoginRecord, step: int, code: IssuedCode
    ) -> bool:
        """Keeps the code and forgets the failures. False when the one-time password of that step, or of a later one, was used
        already, or the user has ended meanwhile: then nothing is kept."""
        ...


class Codes(Protocol):
    """Authorization codes. Each is redeemed once."""

    async def redeem(
        self, tenant_id: str, code_sha256: str, *, client_id: str, redirect_uri: str, verifier: str
    ) -> GrantedCode | None:
        """Uses the code up, whether or not it is given; None when it is unknown, expired, used, or was given to another client,
        redirect URI or verifier, or its user has ended. Used a second time it voids the token that was made from it."""
        ...

    async def issued(self, tenant_id: str, code_sha256: str, jti: str) -> bool:
        """Notes the token that was made from the code. False when the code was used again meanwhile: it is not to be given."""
        ...
