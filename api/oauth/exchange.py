"""The token exchange grant (RFC 8693): a narrower token for whoever acts on behalf of the subject of another.

What is wrong with a subject or actor token is `invalid_request` (RFC 8693, 2.2.2), and which of its faults it has is not told:
another tenant's looks like one that was revoked.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

import structlog

from api.oauth import subjects
from api.oauth.models import ACCESS, DelegatedToken, Refused
from api.oauth.parameters import Exchange
from api.services import Services
from api.short_runs import short_run
from domain import delegation
from domain.actors import Actor
from domain.budgets import Budget, BudgetKey, SetBudget
from domain.errors import InsufficientScope, InvalidRequest
from domain.ids import Prefix, format_id
from domain.names import BudgetScope, Feature, WorkflowName
from domain.ports.identity import ClientRecord
from runtime.ids import new_uuid

log = structlog.get_logger("api.oauth")


async def grant(services: Services, client: ClientRecord, form: dict[str, str]) -> DelegatedToken:
    """A token that is delegated to the client. With a cap, its budget is set before it is given. Raises Refused."""
    asked = Exchange.read(form, services.settings)
    subject = await _standing(services, client, "subject_token", asked.subject_token)
    actor = await _standing(services, client, "actor_token", asked.actor_token) if asked.actor_token is not None else None
    longest = services.settings.token_lifetime_seconds
    try:
        delegated = delegation.delegate(
            subject,
            client_id=client.client_id,
            held=client.scopes,
            actor=actor,
            wanted=asked.scopes,
            jti=new_uuid().hex,
            issued_at=datetime.fromtimestamp(int(time.time()), UTC),
            seconds=min(longest, asked.seconds or longest),
        )
    except InsufficientScope as error:
        raise Refused("invalid_scope", error.detail) from None
    except InvalidRequest as error:
        raise Refused("invalid_request", error.detail) from None
    token = _signed(services, delegated)
    if asked.cap is not None:
        await _set_budget(services, delegated, asked.unit, asked.cap)
    log.info(
        "token.delegated",
        client=client.client_id,
        tenant=client.tenant_id,
        jti=delegated.jti,
        parent=subject.jti,
        act=list(delegated.act),
        scopes=list(delegated.scopes),
    )
    return DelegatedToken(
        access_token=token,
        issued_token_type=ACCESS,
        expires_in=delegation.lifetime(delegated),
        scope=" ".join(delegated.scopes),
    )


async def _standing(services: Services, client: ClientRecord, name: str, token: str) -> Actor:
    if subjects.is_api_key(token):
        raise Refused("invalid_request", f"The {name} is an API key; send an access token.")
    actor = await subjects.standing(services, token, client.tenant_id)
    if actor is None:
        raise Refused("invalid_request", f"The {name} does not hold: unknown, expired or revoked; get a new one.")
    return actor


def _signed(services: Services, delegated: Actor) -> str:
    try:
        return services.tokens.sign(delegated)
    except ValueError:
        raise Refused("invalid_scope", "The token would be too large; ask for fewer scopes.") from None


async def _set_budget(services: Services, delegated: Actor, unit: str, cap: int) -> None:
    change = new_uuid()
    await short_run(
        services,
        delegated,
        WorkflowName.BUDGET_SET,
        Feature.BUDGET,
        change.hex,
        SetBudget(
            change_id=change,
            budget_id=format_id(Prefix.BUDGET, change),
            actor=delegated,
            key=BudgetKey(scope=BudgetScope.DELEGATION, scope_id=delegated.jti),
            unit=unit,
            cap=cap,
        ),
        Budget,
    )
