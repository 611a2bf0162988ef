"""The grant `authorization_code` at the token endpoint (RFC 6749, 4.1.3; RFC 7636, 4.5): a code and its verifier for a token."""

from __future__ import annotations

import hashlib
from typing import Final

import structlog
from starlette.requests import Request

from api.oauth.models import AccessToken, Refused
from api.services import Services
from api.sign_in.log_in import granted_scopes
from domain.errors import ConstitutionUnavailable, TooManyRequests
from domain.sign_in import METHODS, PUBLIC_CLIENTS, GrantedCode, tenant_of_code

CODE_GRANT: Final = "authorization_code"
FAILURES_BY_ADDRESS: Final = 300
_BUCKET: Final = "code-address"

log = structlog.get_logger("api.oauth")


async def redeem_code(request: Request, services: Services, form: dict[str, str]) -> AccessToken:
    """An access token. Raises Refused, TooManyRequests."""
    address = request.client.host if request.client else "unknown"
    quota = await services.rate_limiter.peek(_BUCKET, address, FAILURES_BY_ADDRESS)
    if not quota.allowed:
        raise TooManyRequests("Too many codes that do not hold; wait and log in again.", retry_after=quota.reset_seconds)
    try:
        return await _redeem(request, services, form)
    except Refused:
        await services.rate_limiter.take(_BUCKET, address, FAILURES_BY_ADDRESS)
        raise


async def _redeem(request: Request, services: Services, form: dict[str, str]) -> AccessToken:
    if "authorization" in request.headers or "client_secret" in form:
        raise Refused("invalid_request", "A public client has no secret; send its client_id in the form alone.")
    for name in ("client_id", "code", "redirect_uri", "code_verifier"):
        if not form.get(name):
            raise Refused("invalid_request", f"{name} is missing.")
    if form["client_id"] not in PUBLIC_CLIENTS:
        raise Refused("unauthorized_client", "Only a public client that is known here uses this grant.")
    tenant, digest = tenant_of_code(form["code"]), hashlib.sha256(form["code"].encode()).hexdigest()
    granted = None
    if tenant is not None:
        granted = await services.people.codes.redeem(
            tenant,
            digest,
            client_id=form["client_id"],
            redirect_uri=form["redirect_uri"],
            verifier=form["code_verifier"],
        )
    scopes = await _scopes(services, granted) if granted else None
    if granted is None or scopes is None:
        raise _void()
    token, lifetime = services.tokens.mint(
        tenant_id=granted.tenant_id,
        subject=granted.user_id,
        client_id=form["client_id"],
        scopes=scopes,
        constitution_hash=await _constitution(services),
        claims={"amr": list(METHODS)},
    )
    if not await services.people.codes.issued(granted.tenant_id, digest, services.tokens.verify(token).jti):
        raise _void()
    log.info("token.minted", client=form["client_id"], tenant=granted.tenant_id, user=granted.user_id, scopes=list(scopes))
    return AccessToken(access_token=token, expires_in=lifetime, scope=" ".join(scopes))


async def _scopes(services: Services, granted: GrantedCode) -> tuple[str, ...] | None:
    return granted_scopes(await services.people.roles.opened(granted.tenant_id, granted.roles), granted.scope)


async def _constitution(services: Services) -> str | None:
    try:
        return (await services.constitution.refreshed()).hash
    except ConstitutionUnavailable:
        # Reading goes on without one; what starts work asks for it again and is refused there.
        return None


def _void() -> Refused:
    return Refused(
        "invalid_grant", "The code does not hold: unknown, expired, used, or given to another client, address or verifier."
    )
