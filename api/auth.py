"""Who asks, and whether the token allows it: bearer tokens (RFC 6750) whose scopes are the routes' capabilities.

An API key is accepted wherever a token is. Of one that does not hold nobody learns whether it ever did.

The check runs before the body is read. A token bound to a session opens only routes that name that session in their path. A
capability narrowed to some resources opens only routes whose path names one of them: the first parameter of the path. What is
narrowed by something the path does not say (`slm:call`, by the role of models) is checked again where the role is known.
"""

from __future__ import annotations

import hmac
from typing import Annotated, Any, Final

from fastapi import Depends, Security
from fastapi.openapi.models import OAuth2, OAuthFlowClientCredentials, OAuthFlows
from fastapi.security.base import SecurityBase
from starlette.requests import Request

from api.context import edge_context
from api.event_streams import Authority
from api.services import Services, services_of
from domain import api_keys, capabilities
from domain.actors import Actor
from domain.errors import (
    ConstitutionUnavailable,
    InsufficientScope,
    NotFound,
    RegionNotAllowed,
    StaleConstitution,
    TooManyRequests,
    Unauthenticated,
)
from domain.names import Scope
from domain.ports.rate_limits import Quota

SESSION_PARAMETER: Final = "session_id"
SCHEME: Final = "oauth2"
OAUTH_ENDPOINT: Final = "/v1/oauth/token"
SCOPE_TEXTS: Final[dict[str, str]] = {
    Scope.SESSION_START: "Start sessions",
    Scope.SESSION_READ: "Read sessions and their turns",
    Scope.SESSION_SEND: "Send messages to sessions",
    Scope.SESSION_CANCEL: "Cancel turns and close sessions",
    Scope.DOCUMENT_READ: "Read documents",
    Scope.DOCUMENT_WRITE: "Add and delete documents",
    Scope.EVENT_READ: "Read events",
    Scope.SLM_CALL: "Call models",
    Scope.SLM_READ: "Read model requests and usage",
    Scope.BUDGET_READ: "Read budgets",
    Scope.BUDGET_WRITE: "Set budgets and review overruns",
    Scope.KEY_READ: "Read API keys",
    Scope.KEY_WRITE: "Make and revoke API keys",
    Scope.REVOCATION_READ: "Read revocations",
    Scope.REVOCATION_WRITE: "Revoke tokens",
    Scope.KILLSWITCH_READ: "Read kill switches and their statements",
    Scope.KILLSWITCH_ENGAGE: "Engage kill switches",
    Scope.KILLSWITCH_RELEASE: "Release kill switches, with two approvals",
    Scope.POLICY_READ: "Read decisions and policies, evaluate and replay",
    Scope.POLICY_WRITE: "Make policy sets, put them in force and out of it",
    Scope.ROLE_READ: "Read roles",
    Scope.ROLE_WRITE: "Make, replace and delete roles",
    Scope.CLIENT_READ: "Read clients",
    Scope.CLIENT_WRITE: "Make, change and disable clients",
    Scope.TENANT_READ: "Read tenants",
    Scope.TENANT_WRITE: "Make, change and delete tenants, as the platform does",
    Scope.USER_READ: "Read users",
    Scope.USER_WRITE: "Make, invite, change and delete users",
    Scope.APPROVAL_READ: "Read requests for two people's approval",
    Scope.APPROVAL_WRITE: "Propose, approve and withdraw what two people must approve",
    Scope.POLICY_APPROVE: "Approve or refuse what was escalated",
    Scope.CODEC_DECODE: "Decode workflow payloads, as operators do",
}

_TOKEN_LEEWAY_SECONDS: Final = 10
_FALLEN: Final = (
    "This token was revoked, its client or tenant ended or left with fewer scopes, or its API key ended; get a new one."
)
_NO_KEY: Final = "This API key does not hold: unknown, expired or revoked; make a new one with POST /v1/api-keys."


class Require(SecurityBase):
    """The dependency of a route that needs a scope; it gives the Actor."""

    def __init__(self, scope: Scope, *, of_path: bool = True) -> None:
        """The scope a token must carry. Not `of_path`: the route itself asks `allow` once it knows the resource."""
        self.scope: Final = scope
        self.of_path: Final = of_path
        self.scheme_name = SCHEME
        self.model = OAuth2(
            description="Client credentials (RFC 6749, 4.4); the tokens are JWTs (RFC 9068) and expire after minutes. An API key "
            f"({api_keys.API_KEY_PREFIX}…) is taken as a bearer too.",
            flows=OAuthFlows(clientCredentials=OAuthFlowClientCredentials(tokenUrl=OAUTH_ENDPOINT, scopes=SCOPE_TEXTS)),
        )

    async def __call__(self, request: Request) -> Actor:
        """The actor, found already when the route is an EdgeRoute."""
        return edge_context(request).actor or await self.authorise(request)

    async def authorise(self, request: Request) -> Actor:
        """Verifies the token and that it may do this. Raises Unauthenticated, InsufficientScope, NotFound, TooManyRequests,
        RegionNotAllowed."""
        services = services_of(request)
        actor = await _authenticated(request, services)
        edge_context(request).actor = actor
        await _count(request, services, actor)
        if not await services.standing.stands(actor):
            raise _unauthenticated(request, services, _NO_KEY if actor.jti == actor.key_id else _FALLEN)
        await _check_constitution(request, services, actor)
        await _hold_to_terms(request, services, actor)
        if actor.jti == actor.key_id:
            services.api_key_directory.used(actor.tenant_id, actor.jti)
        if self.of_path:
            allow(request, actor, self.scope, next(iter(request.path_params.values()), None))
        elif not capabilities.names(actor.scopes, self.scope):
            raise _lacking(request, services, self.scope)
        _check_session(request, actor)
        return actor


def require(scope: Scope, *, of_path: bool = True) -> Any:
    """The dependency: `actor: Annotated[Actor, require(Scope.SESSION_READ)]`. Every route but the public ones has one.

    A narrowed capability is compared with the first parameter of the path; without `of_path` the route calls `allow` itself.
    """
    return Security(Require(scope, of_path=of_path), scopes=[scope.value])


def allow(request: Request, actor: Actor, scope: Scope, resource: str | None) -> None:
    """Raises InsufficientScope unless a capability of the actor opens the scope's action on the resource."""
    if not capabilities.covers(actor.scopes, scope, resource):
        where = ""
        if capabilities.names(actor.scopes, scope):
            where = " for this resource" if resource else ", which it holds for some resources alone, for all of them"
        raise _lacking(request, services_of(request), scope, where)


async def _services(request: Request) -> Services:
    """Not a plain function: FastAPI would call that in a thread, which costs more than all the rest of the edge."""
    return services_of(request)


ServicesDependency = Annotated[Services, Depends(_services)]
"""`services: ServicesDependency` in a route."""


def bearer_of(request: Request) -> str:
    """The bearer that was sent; empty when there is none."""
    kind, _, bearer = request.headers.get("authorization", "").partition(" ")
    return bearer.strip() if kind.lower() == "bearer" else ""


def authority_of(request: Request, services: Services, actor: Actor) -> Authority:
    """Why a stream of this actor's may go on. An API key says nothing by itself; `Standing` is asked about it."""
    bearer = bearer_of(request)
    verify = (lambda: None) if actor.jti == actor.key_id else (lambda: services.tokens.verify(bearer))
    return Authority(actor, verify, services.standing)


def longest_seconds(services: Services) -> float:
    """How long a stream may be open at most: no token lives longer."""
    return services.settings.token_lifetime_seconds + _TOKEN_LEEWAY_SECONDS


async def _authenticated(request: Request, services: Services) -> Actor:
    bearer = bearer_of(request)
    if not bearer:
        _challenge(request, services)
        raise Unauthenticated(f"Send an access token as `Authorization: Bearer …`; POST {OAUTH_ENDPOINT} gives one.")
    if bearer.startswith(api_keys.API_KEY_PREFIX):
        return await _of_api_key(request, services, bearer)
    try:
        return services.tokens.verify(bearer)
    except Unauthenticated as error:
        raise _unauthenticated(request, services, error.detail) from None


async def _of_api_key(request: Request, services: Services, key: str) -> Actor:
    """The client a key acts for. What is no key, unknown, expired or revoked gets one and the same answer."""
    digest = api_keys.digest(key)
    found = await services.api_key_directory.find(digest) if api_keys.is_api_key(key) else None
    if found is None or not hmac.compare_digest(found.key_sha256, digest) or not found.stands:
        raise _unauthenticated(request, services, _NO_KEY)
    return Actor(
        tenant_id=found.tenant_id,
        subject=found.client_id,
        client_id=found.client_id,
        scopes=found.scopes,
        jti=found.key_id,
        key_id=found.key_id,
        issued_at=found.created_at,
    )


def _lacking(request: Request, services: Services, scope: Scope, where: str = "") -> InsufficientScope:
    _challenge(request, services, error="insufficient_scope", scope=scope.value)
    return InsufficientScope(f"The token lacks the scope {scope.value}{where}; ask for one that has it.", scope=scope.value)


async def _check_constitution(request: Request, services: Services, actor: Actor) -> None:
    """Refuses a token of a constitution that is in force no more. While none is to be had, what starts work is refused anyway."""
    if actor.constitution_hash is None:
        return
    try:
        known = (await services.constitution.current()).hash
        if known == actor.constitution_hash or (await services.constitution.refreshed()).hash == actor.constitution_hash:
            return
    except ConstitutionUnavailable:
        return
    _challenge(request, services, error="invalid_token")
    raise StaleConstitution(f"A new constitution is in force since this token was issued; get a new one at {OAUTH_ENDPOINT}.")


def _unauthenticated(request: Request, services: Services, detail: str) -> Unauthenticated:
    _challenge(request, services, error="invalid_token")
    return Unauthenticated(detail)


def _challenge(request: Request, services: Services, **parameters: str) -> None:
    """`WWW-Authenticate` (RFC 6750, 3) with where to learn how to authenticate (RFC 9728, 5.1)."""
    metadata = f"{services.settings.public_url.rstrip('/')}/.well-known/oauth-protected-resource"
    values = {"realm": "somagent", **parameters, "resource_metadata": metadata}
    edge_context(request).headers["WWW-Authenticate"] = "Bearer " + ", ".join(
        f'{name}="{value}"' for name, value in values.items()
    )


async def _count(request: Request, services: Services, actor: Actor) -> None:
    quota = await services.rate_limiter.take(
        "client", f"{actor.tenant_id}/{actor.caller}", services.settings.rate_limit_per_minute
    )
    show_quota(request, "client", quota)
    if not quota.allowed:
        raise TooManyRequests(
            f"This client made its {quota.limit} requests of the minute; wait and try again.", retry_after=quota.reset_seconds
        )


async def _hold_to_terms(request: Request, services: Services, actor: Actor) -> None:
    """What the platform set for the tenant: where it may be served, and how many requests a minute all its clients have."""
    terms, region = await services.tenant_terms.terms(actor.tenant_id), services.settings.region
    if terms.residency and region not in terms.residency:
        raise RegionNotAllowed(
            f"This tenant may not be served in the region {region}; ask a gateway in one of: {', '.join(terms.residency)}."
        )
    if terms.requests_per_minute is None:
        return
    quota = await services.rate_limiter.take("tenant", actor.tenant_id, terms.requests_per_minute)
    if not quota.allowed:
        show_quota(request, "tenant", quota)
        raise TooManyRequests(
            f"This tenant made its {quota.limit} requests of the minute; wait and try again.", retry_after=quota.reset_seconds
        )


def show_quota(request: Request, policy: str, quota: Quota) -> None:
    """Sets `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11)."""
    headers = edge_context(request).headers
    headers["RateLimit-Policy"] = f'"{policy}";q={quota.limit};w=60'
    headers["RateLimit"] = f'"{policy}";r={quota.remaining};t={quota.reset_seconds}'


def _check_session(request: Request, actor: Actor) -> None:
    if actor.session_id is None:
        return
    named = request.path_params.get(SESSION_PARAMETER)
    if named is None:
        raise InsufficientScope("This token is bound to a session and opens only that session's addresses.")
    if named != actor.session_id:
        raise NotFound("No session has that id.")
