"""Public metadata: the OpenAPI and AsyncAPI documents, the keys that verify tokens, and where to get tokens."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from api.asyncapi import document as events
from api.auth import OAUTH_ENDPOINT, ServicesDependency
from api.openapi import document
from api.routes.oauth import GRANT_TYPES, REVOCATION_ENDPOINT
from api.routes.sign_in import AUTHORIZE_ENDPOINT
from api.routing import edge_router
from api.services import Services
from domain.names import Scope

router = edge_router("identity")
_CLIENT_AUTH = ("client_secret_basic", "client_secret_post")
_CACHED = {"Cache-Control": "public, max-age=300"}


def _issuer(services: Services) -> str:
    return services.settings.public_url.rstrip("/")


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> JSONResponse:
    """The OpenAPI 3.1 document."""
    return JSONResponse(document(request.app), headers=_CACHED)


@router.get("/asyncapi.json", include_in_schema=False)
async def asyncapi() -> JSONResponse:
    """The AsyncAPI 3.0 document: what the events of `/v1/events` and Kafka hold."""
    return JSONResponse(events(), headers=_CACHED)


@router.get("/.well-known/jwks.json", summary="Keys that verify access tokens")
async def jwks(services: ServicesDependency) -> dict[str, Any]:
    """The public keys (RFC 7517). A new key is added here before it signs."""
    return services.tokens.jwks()


@router.get("/.well-known/oauth-authorization-server", summary="Authorization server metadata")
async def authorization_server(services: ServicesDependency) -> dict[str, Any]:
    """RFC 8414: where clients get tokens, and where people log in for theirs."""
    issuer = _issuer(services)
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}{AUTHORIZE_ENDPOINT}",
        "token_endpoint": f"{issuer}{OAUTH_ENDPOINT}",
        "jwks_uri": f"{issuer}/.well-known/jwks.json",
        "scopes_supported": [scope.value for scope in Scope],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": list(GRANT_TYPES),
        "token_endpoint_auth_methods_supported": [*_CLIENT_AUTH, "none"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "revocation_endpoint": f"{issuer}{REVOCATION_ENDPOINT}",
        "revocation_endpoint_auth_methods_supported": list(_CLIENT_AUTH),
        "service_documentation": f"{issuer}/openapi.json",
    }


@router.get("/.well-known/oauth-protected-resource", summary="Protected resource metadata")
async def protected_resource(services: ServicesDependency) -> dict[str, Any]:
    """RFC 9728."""
    issuer = _issuer(services)
    return {
        "resource": issuer,
        "authorization_servers": [issuer],
        "jwks_uri": f"{issuer}/.well-known/jwks.json",
        "scopes_supported": [scope.value for scope in Scope],
        "bearer_methods_supported": ["header"],
        "resource_name": "SomaGent",
        "resource_documentation": f"{issuer}/openapi.json",
    }
