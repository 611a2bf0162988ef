"""The OAuth endpoints: tokens (RFC 6749, 8693) and their revocation (RFC 7009). Their errors have the body of RFC 6749, 5.2, not
of a problem. What each grant does is in `api.oauth`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from api.auth import OAUTH_ENDPOINT, ServicesDependency
from api.context import edge_context
from api.oauth import client_credentials, exchange, revoke
from api.oauth.credentials import authenticated
from api.oauth.form import documented, parse_form
from api.oauth.models import ERRORS, AccessToken, DelegatedToken, Refused
from api.oauth.parameters import EXCHANGE, FIELDS
from api.routing import body_limit, edge_router
from api.services import Services
from api.sign_in.grant import CODE_GRANT, redeem_code
from domain.ports.identity import ClientRecord

REVOCATION_ENDPOINT: Final = "/v1/oauth/revoke"
_BODY_BYTES: Final = 18 * 1024
"""Two tokens of the largest size, and the rest."""

_GRANTS: Final[dict[str, Callable[[Services, ClientRecord, dict[str, str]], Awaitable[AccessToken]]]] = {
    "client_credentials": client_credentials.grant,
    EXCHANGE: exchange.grant,
}
GRANT_TYPES: Final = (*_GRANTS, CODE_GRANT)
_FIELDS: Final[dict[str, Any]] = {
    "grant_type": {"type": "string", "enum": list(GRANT_TYPES)},
    "scope": {
        "type": "string",
        "description": "Scopes separated by spaces, each as it is held or narrower (`session:read:ses_…`). Without it all of the "
        "client's, or of the subject token's that the client holds.",
    },
    "code": {"type": "string", "description": "An authorization code, with the two below (RFC 6749, 4.1.3; RFC 7636)."},
    "redirect_uri": {"type": "string", "description": "The one the code was sent to."},
    "code_verifier": {"type": "string", "description": "What the code challenge was made of."},
}

router = edge_router("identity")


@router.post(
    OAUTH_ENDPOINT,
    summary="Get an access token",
    response_model=AccessToken | DelegatedToken,
    responses=ERRORS,
    openapi_extra=documented(
        ["grant_type"], _FIELDS | FIELDS, {"grant_type": "client_credentials", "scope": "session:start session:read"}
    ),
    dependencies=[body_limit(_BODY_BYTES)],
)
async def token(request: Request, services: ServicesDependency) -> Response:
    """Trades client credentials, or the code of somebody who logged in, for a token that lives minutes, or an access token for a
    narrower one (RFC 8693). Credentials come by HTTP Basic or in the form; a public client has none."""
    try:
        form = parse_form(request.headers.get("content-type", ""), await request.body())
        if form.get("grant_type") == CODE_GRANT:
            granted = await redeem_code(request, services, form)
        else:
            grant = _grant_of(form)
            granted = await grant(services, await authenticated(request, services, form), form)
    except Refused as refusal:
        return _refusal(refusal)
    return JSONResponse(granted.model_dump(), headers=_headers())


@router.post(
    REVOCATION_ENDPOINT,
    summary="Revoke a token of one's own",
    response_class=Response,
    responses={200: {"description": "It is refused within a second, or was none"}, **ERRORS},
    openapi_extra=documented(["token"], revoke.FIELDS, {"token": "eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCJ9…"}),
    dependencies=[body_limit(_BODY_BYTES)],
)
async def revoke_token(request: Request, services: ServicesDependency) -> Response:
    """Ends an access token and all that was delegated from it, or an API key (RFC 7009). What is neither is answered alike."""
    try:
        form = parse_form(request.headers.get("content-type", ""), await request.body())
        client = await authenticated(request, services, form)
        await revoke.revoke(services, client, form, edge_context(request).request_id)
    except Refused as refusal:
        return _refusal(refusal)
    return Response(headers=_headers())


def _grant_of(form: dict[str, str]) -> Callable[[Services, ClientRecord, dict[str, str]], Awaitable[AccessToken]]:
    name = form.get("grant_type")
    if name is None:
        raise Refused("invalid_request", "grant_type is missing; send client_credentials.")
    if name not in _GRANTS:
        raise Refused("unsupported_grant_type", f"Only {' and '.join(GRANT_TYPES)} are supported.")
    return _GRANTS[name]


def _refusal(refusal: Refused) -> Response:
    headers = _headers()
    if refusal.status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="somagent", charset="UTF-8"'
    return JSONResponse(refusal.body.model_dump(), refusal.status, headers)


def _headers() -> dict[str, str]:
    return {"Cache-Control": "no-store", "Pragma": "no-cache"}
