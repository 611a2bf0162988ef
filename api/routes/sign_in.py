"""The authorization endpoint (RFC 6749, 4.1.1): a page to log in at, and the way back to the client with a code.

Nothing is ever sent to an address that the client may not be answered at. A page is good for the browser that was shown it, by a
cookie that is sent to us alone, so nobody logs another's browser in (RFC 9700, 4.7). Answers name the issuer (RFC 9207).
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Final
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api.auth import ServicesDependency
from api.routing import body_limit, edge_router
from api.services import Services
from api.sign_in.forms import FORM_BYTES, form_of, query_of
from api.sign_in.log_in import Given, LoginRefused, ScopeRefused, log_in
from api.sign_in.pages import code_field, field, form, page, sentence, wrong
from domain.capabilities import is_capability
from domain.errors import InvalidRequest
from domain.sign_in import PUBLIC_CLIENTS, SIGN_IN_SECONDS, AuthorizationRequest, allows_redirect

AUTHORIZE_ENDPOINT: Final = "/v1/oauth/authorize"
PAGES_BY_ADDRESS: Final = 600
"""In a minute. An address may be that of a whole office, and a page costs one row."""
_COOKIE: Final = "soma_sign_in"
_RANDOM: Final = re.compile(r"[A-Za-z0-9_-]{43}\Z")
_TENANT: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,47}\Z")
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}\Z")
_STATE: Final = re.compile(r"[\x20-\x7e]{1,500}\Z")
_LONGEST_SCOPE: Final = 4000
_CANNOT: Final = "This log-in cannot go on"
_AGAIN: Final = (
    "This page has expired, was sent already, or belongs to another browser. Start again from the program you came from."
)
_WRONG: Final = "The tenant, name, password or code is wrong, or the code was used already. Wait for the next code and try again."

router = edge_router("identity")


class _ToClient(Exception):
    """An error that the client is told (RFC 6749, 4.1.2.1)."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(error)
        self.error: Final = error
        self.description: Final = description


@router.get(AUTHORIZE_ENDPOINT, include_in_schema=False)
async def authorize(request: Request, services: ServicesDependency) -> Response:
    """Shows the page to log in at."""
    address = request.client.host if request.client else "unknown"
    quota = await services.rate_limiter.take("authorize-address", address, PAGES_BY_ADDRESS)
    if not quota.allowed:
        return _wait(quota.reset_seconds)
    try:
        query = query_of(request)
    except InvalidRequest as error:
        return sentence(_CANNOT, error.detail, status=400)
    client_id, redirect_uri = query.get("client_id", ""), query.get("redirect_uri", "")
    if not allows_redirect(client_id, redirect_uri):
        text = "The program that sent you here is not known, or asks to be answered at an address that is not on this computer."
        return sentence(_CANNOT, text, status=400)
    try:
        asked = _checked(query, client_id, redirect_uri)
    except _ToClient as error:
        state = query.get("state", "")
        told = {"error": error.error, "error_description": error.description}
        return _back(services, redirect_uri, told, state if _STATE.match(state) else None)
    sign_in, browser = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    await services.people.sign_ins.begin(_digest(sign_in), _digest(browser), asked)
    tenant = query.get("tenant", "")
    shown = _log_in_page(asked, sign_in, tenant if _TENANT.match(tenant) else "")
    shown.set_cookie(
        _COOKIE,
        browser,
        max_age=SIGN_IN_SECONDS,
        path=AUTHORIZE_ENDPOINT,
        secure=services.settings.public_url.startswith("https://"),
        httponly=True,
        samesite="strict",
    )
    return shown


@router.post(AUTHORIZE_ENDPOINT, include_in_schema=False, dependencies=[body_limit(FORM_BYTES)])
async def send_log_in(request: Request, services: ServicesDependency) -> Response:
    """Compares what was typed, and leads back to the client with a code."""
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return sentence(_CANNOT, "This form was sent from another site. Start again from the program you came from.", status=403)
    try:
        given = await form_of(request)
    except InvalidRequest as error:
        return sentence(_CANNOT, error.detail, status=400)
    sign_in, browser = given.get("sign_in", ""), request.cookies.get(_COOKIE, "")
    asked = None
    if _RANDOM.match(sign_in) and _RANDOM.match(browser):
        asked = await services.people.sign_ins.find(_digest(sign_in), _digest(browser))
    if asked is None:
        return sentence(_CANNOT, _AGAIN, status=400)
    typed = Given(**{name: given.get(name, "")[:1024] for name in Given.model_fields})
    address = request.client.host if request.client else "unknown"
    try:
        code = await log_in(services, asked, typed, address)
    except LoginRefused as refused:
        if refused.wait:
            return _wait(refused.wait)
        return _log_in_page(asked, sign_in, typed.tenant, typed.name, status=403, said=_WRONG)
    except ScopeRefused:
        told = {"error": "invalid_scope", "error_description": "The user does not hold every scope that was asked for."}
        await services.people.sign_ins.finish(_digest(sign_in))
        return _back(services, asked.redirect_uri, told, asked.state)
    if not await services.people.sign_ins.finish(_digest(sign_in)):
        # Sent twice at once: the code of this one is never told, and expires.
        return sentence(_CANNOT, _AGAIN, status=400)
    return _back(services, asked.redirect_uri, {"code": code}, asked.state)


def _checked(query: dict[str, str], client_id: str, redirect_uri: str) -> AuthorizationRequest:
    """Raises _ToClient."""
    state = query.get("state")
    if state is not None and _STATE.match(state) is None:
        raise _ToClient("invalid_request", "state has 1 to 500 printable ASCII characters.")
    if query.get("response_type") != "code":
        raise _ToClient("unsupported_response_type", "Only response_type=code is supported.")
    if query.get("code_challenge_method") != "S256":
        raise _ToClient("invalid_request", "Only code_challenge_method=S256 is supported.")
    challenge = query.get("code_challenge", "")
    if _CHALLENGE.match(challenge) is None:
        raise _ToClient("invalid_request", "code_challenge is missing or no SHA-256 in base64url.")
    scope = query.get("scope", "")
    if len(scope) > _LONGEST_SCOPE or not all(is_capability(each) for each in scope.split(" ") if scope):
        raise _ToClient("invalid_scope", "A scope that was asked for does not exist.")
    return AuthorizationRequest(
        client_id=client_id, redirect_uri=redirect_uri, code_challenge=challenge, scope=scope, state=state
    )


def _log_in_page(
    asked: AuthorizationRequest, sign_in: str, tenant: str, name: str = "", *, status: int = 200, said: str = ""
) -> Response:
    fields = (
        field("tenant", "Tenant", value=tenant[:48], longest=48, fill="organization")
        + field("name", "Name", value=name[:64], longest=64, fill="username")
        + field("password", "Password", kind="password", fill="current-password")
        + code_field()
    )
    text = f"<p>You log in for {PUBLIC_CLIENTS[asked.client_id]}. Go on only if you have just started it yourself.</p>"
    body = text + wrong(said) + form(AUTHORIZE_ENDPOINT, fields, "Log in", {"sign_in": sign_in})
    target = urlsplit(asked.redirect_uri)
    return page("Log in", body, status=status, leads_to=f"{target.scheme}://{target.netloc}")


def _back(services: Services, redirect_uri: str, values: dict[str, str], state: str | None) -> Response:
    told = values | ({"state": state} if state is not None else {}) | {"iss": services.settings.public_url.rstrip("/")}
    # 303, so that the browser does not send the form on (RFC 9700, 4.12).
    return RedirectResponse(f"{redirect_uri}?{urlencode(told)}", 303)


def _wait(seconds: int) -> Response:
    text = f"Too many attempts. Wait {seconds} seconds, then start again."
    return sentence("Too many attempts", text, status=429, headers={"Retry-After": str(seconds)})


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
