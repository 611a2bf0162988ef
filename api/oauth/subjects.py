"""Tokens that are shown to the OAuth endpoints: to be delegated from, to say who acts, to be revoked."""

from __future__ import annotations

from api.services import Services
from domain import api_keys
from domain.actors import Actor
from domain.errors import Unauthenticated


def read(services: Services, token: str) -> Actor | None:
    """Whom an access token of ours tells of; None for what is none, or has expired. Raises DependencyUnavailable."""
    try:
        return services.tokens.verify(token)
    except Unauthenticated:
        return None


async def standing(services: Services, token: str, tenant_id: str) -> Actor | None:
    """As `read`, and None as well for another tenant's and for one that was revoked. Raises DependencyUnavailable."""
    actor = read(services, token)
    if actor is None or actor.tenant_id != tenant_id or not await services.standing.stands(actor):
        return None
    return actor


def is_api_key(token: str) -> bool:
    """Whether it is meant as an API key."""
    return token.startswith(api_keys.API_KEY_PREFIX)
