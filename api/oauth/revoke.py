"""Revocation of a token by a client that holds it (RFC 7009): it ends with everything that was delegated from it."""

from __future__ import annotations

import hmac
from typing import Any, Final

import structlog

from api.oauth import subjects
from api.oauth.models import Refused
from api.services import Services
from api.short_runs import short_run
from domain import api_keys, delegation
from domain.actors import Actor
from domain.api_keys import ApiKeyRevocationInput
from domain.ids import Prefix
from domain.names import Feature, WorkflowName
from domain.ports.identity import ClientRecord
from domain.revocations import RevocationInput, RevocationKind
from runtime.ids import new_id

log = structlog.get_logger("api.oauth")

FIELDS: Final[dict[str, Any]] = {
    "token": {"type": "string", "description": "An access token or an API key of the client, or a token delegated from one."},
    "token_type_hint": {"type": "string", "description": "Not needed: what is sent says itself what it is."},
}


async def revoke(services: Services, client: ClientRecord, form: dict[str, str], request_id: str) -> None:
    """Ends the token or API key; what is none, or ended already, is as good as revoked. Raises Refused for another client's."""
    token = form.get("token")
    if token is None:
        raise Refused("invalid_request", "token is missing; send the access token or API key to revoke.")
    author = Actor(
        tenant_id=client.tenant_id, subject=client.client_id, client_id=client.client_id, scopes=client.scopes, jti=request_id
    )
    if subjects.is_api_key(token):
        await _revoke_key(services, author, token)
    else:
        await _revoke_token(services, author, token)


async def _revoke_token(services: Services, author: Actor, token: str) -> None:
    actor = subjects.read(services, token)
    if actor is None or actor.tenant_id != author.tenant_id:
        return
    if author.client_id not in delegation.holders(actor):
        raise _of_another("token")
    revocation = RevocationInput(revocation_id=new_id(Prefix.REVOCATION), actor=author, kind=RevocationKind.JTI, value=actor.jti)
    # One run for each token: said again, it finds that it was done.
    await short_run(services, author, WorkflowName.REVOCATION_CREATE, Feature.REVOCATION, actor.jti, revocation, type(None))
    log.info("token.revoked", client=author.client_id, tenant=author.tenant_id, jti=actor.jti)


async def _revoke_key(services: Services, author: Actor, key: str) -> None:
    digest = api_keys.digest(key)
    found = await services.api_key_directory.find(digest) if api_keys.is_api_key(key) else None
    if found is None or not hmac.compare_digest(found.key_sha256, digest) or found.tenant_id != author.tenant_id:
        return
    if found.client_id != author.client_id:
        raise _of_another("API key")
    revocation = ApiKeyRevocationInput(key_id=found.key_id, actor=author)
    await short_run(
        services, author, WorkflowName.API_KEY_REVOKE, Feature.API_KEY_REVOCATION, found.key_id, revocation, type(None)
    )
    log.info("key.revoked", client=author.client_id, tenant=author.tenant_id, key=found.key_id)


def _of_another(what: str) -> Refused:
    return Refused(
        "invalid_grant", f"The {what} is another client's; only its own client, or one it comes from, revokes it here."
    )
