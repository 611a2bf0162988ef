"""The token endpoint: OAuth 2 client credentials (RFC 6749, 4.4). Its errors have the body of RFC 6749, 5.2, not of a problem.

Only failed attempts are counted against guessing, by client and by address, so that nobody locks a client out who merely
knows its name from one address; what succeeds is bounded by the client's own rate limit.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, unquote_plus

import structlog
from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from api.auth import OAUTH_ENDPOINT, SCOPE_TEXTS, ServicesDependency, show_quota
from api.context import edge_context
from api.problems import problems
from api.routing import body_limit, edge_router
from api.services import Services
from api.sign_in.grant import CODE_GRANT, CodeRefused, redeem_code
from domain.base import Contract
from domain.errors import ConstitutionUnavailable, TooManyRequests
from domain.ports.identity import ClientRecord
from domain.ports.rate_limits import Quota

FAILURES_BY_ADDRESS: Final = 60
FAILURES_BY_CLIENT: Final = 300
_BODY_BYTES: Final = 8 * 1024
_MAX_FIELDS: Final = 10
_NOBODY: Final = "0" * 64
"""Compared with when there is no such client, so that the answer takes as long."""

_FIELDS: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["grant_type"],
    "maxProperties": _MAX_FIELDS,
    "additionalProperties": {"type": "string", "description": "Ignored (RFC 6749, 3.2)."},
    "properties": {
        "grant_type": {"type": "string", "enum": ["client_credentials", CODE_GRANT]},
        "scope": {"type": "string", "description": "Scopes separated by spaces; all of the client's when left out."},
        "client_id": {"type": "string", "description": "Here or by HTTP Basic."},
        "client_secret": {"type": "string", "format": "password"},
        "code": {"type": "string", "description": "An authorization code, with the three below (RFC 6749, 4.1.3; RFC 7636)."},
        "redirect_uri": {"type": "string", "description": "The one the code was sent to."},
        "code_verifier": {"type": "string", "description": "What the code challenge was made of."},
    },
}
_REQUEST_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": _FIELDS,
                "example": {"grant_type": "client_credentials", "scope": "session:start session:read"},
            }
        },
    }
}

router = edge_router("identity")
log = structlog.get_logger("api.oauth")


class AccessToken(Contract):
    """A token (RFC 6749, 5.1); `expires_in` is in seconds."""

    access_token: str = Field(examples=["eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCJ9…"])
    token_type: str = Field(default="Bearer", examples=["Bearer"])
    expires_in: int = Field(examples=[900])
    scope: str = Field(examples=["session:start session:read"])


class OAuthError(Contract):
    """Why there is no token (RFC 6749, 5.2)."""

    error: str = Field(examples=["invalid_client"])
    error_description: str = Field(examples=["The client is unknown or its secret is wrong."])


class _Refused(Exception):
    """Becomes an OAuthError."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(error)
        self.body: Final = OAuthError(error=error, error_description=description)
        self.status: Final = status


@dataclass(frozen=True, slots=True)
class _Credentials:
    client_id: str
    secret: str


_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": OAuthError, "description": "The request is wrong (RFC 6749, 5.2)"},
    401: {"model": OAuthError, "description": "The client is unknown, disabled or its secret wrong"},
    **problems(413, 429, 503),
}


@router.post(
    OAUTH_ENDPOINT,
    summary="Get an access token",
    response_model=AccessToken,
    responses=_ERRORS,
    openapi_extra=_REQUEST_BODY,
    dependencies=[body_limit(_BODY_BYTES)],
)
async def token(request: Request, services: ServicesDependency) -> Response:
    """Trades client credentials, or the code of somebody who logged in, for a token that lives minutes. Credentials come by HTTP
    Basic or in the form; a public client has none."""
    headers = {"Cache-Control": "no-store", "Pragma": "no-cache"}
    try:
        granted = await _grant(request, services)
    except _Refused as refusal:
        if refusal.status == 401:
            headers["WWW-Authenticate"] = 'Basic realm="somagent", charset="UTF-8"'
        return JSONResponse(refusal.body.model_dump(), refusal.status, headers)
    return JSONResponse(granted.model_dump(), headers=headers)


async def _grant(request: Request, services: Services) -> AccessToken:
    form = _parse_form(request.headers.get("content-type", ""), await request.body())
    match form.get("grant_type"):
        case None:
            raise _Refused("invalid_request", "grant_type is missing; send client_credentials.")
        case "client_credentials":
            pass
        case grant if grant == CODE_GRANT:
            try:
                access_token, lifetime, scopes = await redeem_code(request, services, form)
            except CodeRefused as refusal:
                raise _Refused(refusal.error, refusal.description) from None
            return AccessToken(access_token=access_token, expires_in=lifetime, scope=" ".join(scopes))
        case _:
            raise _Refused("unsupported_grant_type", "Only client_credentials and authorization_code are supported.")
    client = await _authenticate(request, services, _credentials(request, form))
    scopes = _granted_scopes(client, form.get("scope", ""))
    try:
        constitution_hash = (await services.constitution.current()).hash
    except ConstitutionUnavailable:
        # Reading goes on without a constitution; what starts work asks for it again and is refused there.
        constitution_hash = None
    access_token, lifetime = services.tokens.mint(
        tenant_id=client.tenant_id,
        subject=client.client_id,
        client_id=client.client_id,
        scopes=scopes,
        constitution_hash=constitution_hash,
    )
    log.info("token.minted", client=client.client_id, tenant=client.tenant_id, scopes=list(scopes))
    return AccessToken(access_token=access_token, expires_in=lifetime, scope=" ".join(scopes))


def _parse_form(content_type: str, body: bytes) -> dict[str, str]:
    if content_type.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise _Refused("invalid_request", "Send the parameters as application/x-www-form-urlencoded.")
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=False, strict_parsing=bool(body), errors="strict", max_num_fields=_MAX_FIELDS
        )
    except ValueError:
        raise _Refused("invalid_request", "The form cannot be read.") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise _Refused("invalid_request", "A parameter is sent twice.")
    return form


def _credentials(request: Request, form: dict[str, str]) -> _Credentials:
    header = request.headers.get("authorization")
    if header is None:
        if not form.get("client_id") or not form.get("client_secret"):
            raise _Refused("invalid_client", "Send client_id and client_secret, by HTTP Basic or in the form.", 401)
        return _Credentials(form["client_id"], form["client_secret"])
    if "client_secret" in form:
        raise _Refused("invalid_request", "Send the credentials once: by HTTP Basic or in the form.")
    return _basic(header)


def _basic(header: str) -> _Credentials:
    """Both halves are form-encoded before they are joined (RFC 6749, 2.3.1)."""
    kind, _, encoded = header.partition(" ")
    try:
        if kind.lower() != "basic":
            raise ValueError
        client_id, colon, secret = base64.b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")
        if not colon:
            raise ValueError
    except (ValueError, binascii.Error):
        raise _Refused("invalid_client", "The Authorization header is not HTTP Basic.", 401) from None
    return _Credentials(unquote_plus(client_id), unquote_plus(secret))


async def _authenticate(request: Request, services: Services, given: _Credentials) -> ClientRecord:
    address = request.client.host if request.client else "unknown"
    # Only the first characters: the name comes from whoever asks, and it becomes a key of the store.
    guesses = (("token-address", address, FAILURES_BY_ADDRESS), ("token-client", given.client_id[:64], FAILURES_BY_CLIENT))
    for bucket, key, limit in guesses:
        _refuse_guessing(request, bucket, await services.rate_limiter.peek(bucket, key, limit))
    client = await services.clients.find(given.client_id) if _may_exist(given.client_id) else None
    expected = client.secret_sha256 if client else _NOBODY
    matches = hmac.compare_digest(hashlib.sha256(given.secret.encode()).hexdigest(), expected)
    if client is None or not matches or client.disabled:
        for bucket, key, limit in guesses:
            await services.rate_limiter.take(bucket, key, limit)
        log.warning("token.refused", address=address, request_id=edge_context(request).request_id)
        raise _Refused("invalid_client", "The client is unknown, disabled, or its secret is wrong.", 401)
    quota = await services.rate_limiter.take(
        "client", f"{client.tenant_id}/{client.client_id}", services.settings.rate_limit_per_minute
    )
    _refuse_guessing(request, "client", quota)
    return client


def _may_exist(client_id: str) -> bool:
    """Postgres takes no NUL in a text."""
    return 0 < len(client_id) <= 64 and client_id.isprintable()


def _refuse_guessing(request: Request, bucket: str, quota: Quota) -> None:
    show_quota(request, bucket, quota)
    if not quota.allowed:
        raise TooManyRequests("Too many requests for tokens; wait and try again.", retry_after=quota.reset_seconds)


def _granted_scopes(client: ClientRecord, asked: str) -> tuple[str, ...]:
    if not asked:
        return client.scopes
    scopes = tuple(dict.fromkeys(asked.split()))
    if not all(scope in client.scopes and scope in SCOPE_TEXTS for scope in scopes):
        raise _Refused("invalid_scope", "The client does not hold every scope that was asked for.")
    return scopes
