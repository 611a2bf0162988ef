"""The client's credentials (RFC 6749, 2.3.1), by HTTP Basic or in the form.

Only failed attempts are counted against guessing, by client and by address, so that nobody locks a client out who merely
knows its name from one address; what succeeds is bounded by the client's own rate limit.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_plus

import structlog
from starlette.requests import Request

from api.auth import show_quota
from api.context import edge_context
from api.oauth.models import Refused
from api.services import Services
from domain.errors import TooManyRequests
from domain.ports.identity import ClientRecord
from domain.ports.rate_limits import Quota

FAILURES_BY_ADDRESS: Final = 60
FAILURES_BY_CLIENT: Final = 300
_NOBODY: Final = "0" * 64
"""Compared with when there is no such client, so that the answer takes as long."""

log = structlog.get_logger("api.oauth")


@dataclass(frozen=True, slots=True)
class _Credentials:
    client_id: str
    secret: str


async def authenticated(request: Request, services: Services, form: dict[str, str]) -> ClientRecord:
    """The client whose credentials came by HTTP Basic or in the form. Raises Refused, TooManyRequests."""
    return await _checked(request, services, _credentials(request, form))


def _credentials(request: Request, form: dict[str, str]) -> _Credentials:
    header = request.headers.get("authorization")
    if header is None:
        if not form.get("client_id") or not form.get("client_secret"):
            raise Refused("invalid_client", "Send client_id and client_secret, by HTTP Basic or in the form.", 401)
        return _Credentials(form["client_id"], form["client_secret"])
    if "client_secret" in form:
        raise Refused("invalid_request", "Send the credentials once: by HTTP Basic or in the form.")
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
        raise Refused("invalid_client", "The Authorization header is not HTTP Basic.", 401) from None
    return _Credentials(unquote_plus(client_id), unquote_plus(secret))


async def _checked(request: Request, services: Services, given: _Credentials) -> ClientRecord:
    address = request.client.host if request.client else "unknown"
    # Only the first characters: the name comes from whoever asks, and it becomes a key of the store.
    guesses = (("token-address", address, FAILURES_BY_ADDRESS), ("token-client", given.client_id[:64], FAILURES_BY_CLIENT))
    for bucket, key, limit in guesses:
        _refuse_guessing(request, bucket, await services.rate_limiter.peek(bucket, key, limit))
    client = await services.clients.find(given.client_id) if _may_exist(given.client_id) else None
    expected = client.secret_sha256 if client else _NOBODY
    former = (client.former_secret_sha256 if client else None) or _NOBODY
    digest = hashlib.sha256(given.secret.encode()).hexdigest()
    matches = hmac.compare_digest(digest, expected) | hmac.compare_digest(digest, former)
    if client is None or not matches or client.disabled:
        for bucket, key, limit in guesses:
            await services.rate_limiter.take(bucket, key, limit)
        log.warning("token.refused", address=address, request_id=edge_context(request).request_id)
        raise Refused("invalid_client", "The client is unknown, disabled, or its secret is wrong.", 401)
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
