"""The client credentials grant (RFC 6749, 4.4)."""

from __future__ import annotations

from typing import Final

import structlog

from api.oauth.models import AccessToken, Refused
from api.services import Services
from domain.capabilities import within
from domain.errors import ConstitutionUnavailable
from domain.ports.identity import ClientRecord

LONGEST_SCOPE: Final = 4096
"""Characters; a longer token would not be taken."""

log = structlog.get_logger("api.oauth")


async def grant(services: Services, client: ClientRecord, form: dict[str, str]) -> AccessToken:
    """A token for what the client itself may do. Raises Refused."""
    scopes = _granted_scopes(client, form.get("scope", ""))
    try:
        constitution_hash = (await services.constitution.refreshed()).hash
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


def _granted_scopes(client: ClientRecord, asked: str) -> tuple[str, ...]:
    scopes = tuple(dict.fromkeys(asked.split())) if asked else client.scopes
    if asked and not all(within(scope, client.scopes) for scope in scopes):
        raise Refused("invalid_scope", "The client does not hold every scope that was asked for.")
    if len(" ".join(scopes)) > LONGEST_SCOPE:
        raise Refused("invalid_scope", "So many scopes make no token; name fewer with the parameter scope.")
    return scopes
