"""Two-key approval: the riskiest acts need two different people, who each proved who they are with several factors.

What is approved is named by its action, its resource and the digest of exactly what is to happen, so an approval is good for
nothing else. It expires, and is consumed by the act itself, in the transaction that does it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final
from uuid import UUID

from pydantic import Field, StringConstraints

from domain.actors import Actor
from domain.api_keys import key_of
from domain.base import Contract, Sha256, UtcTime
from domain.errors import Forbidden
from domain.ids import TwoKeyId
from domain.names import TwoKeyAction
from domain.sign_in import MFA
from domain.users import is_user

KEYS: Final = 2
LONGEST_SECONDS: Final = 86_400

Resource = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_./:@-]{1,200}$")]
"""What is acted on, by its id."""
Lifetime = Annotated[int, Field(ge=60, le=LONGEST_SECONDS)]
"""Seconds until a request expires."""


class TwoKeyState(StrEnum):
    """`approved` is what the act consumes."""

    OPEN = "open"
    APPROVED = "approved"
    CONSUMED = "consumed"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


class TwoKeyApproval(Contract):
    """One key: who turned it, and when."""

    user_id: str
    approved_at: UtcTime


class TwoKeyView(Contract):
    """A request as it reads."""

    approval_id: TwoKeyId
    action: TwoKeyAction
    resource: str
    digest: Sha256
    state: TwoKeyState
    proposed_by: str
    created_at: UtcTime
    expires_at: UtcTime
    approvals: tuple[TwoKeyApproval, ...]
    withdrawn_by: str | None
    consumed_at: UtcTime | None


class TwoKeyInput(Contract):
    """Argument of `two_key.propose`."""

    approval_id: TwoKeyId
    actor: Actor
    action: TwoKeyAction
    resource: Resource
    digest: Sha256
    lifetime_seconds: Lifetime


class TwoKeyApprovalInput(Contract):
    """Argument of `two_key.approve`. `digest` is what the approver saw."""

    change_id: UUID
    approval_id: TwoKeyId
    actor: Actor
    digest: Sha256


class TwoKeyWithdrawalInput(Contract):
    """Argument of `two_key.withdraw`."""

    approval_id: TwoKeyId
    actor: Actor


def check_approver(actor: Actor) -> None:
    """Raises Forbidden for everybody but a person who acts themself, and proved who they are with several factors."""
    if not is_user(actor.subject) or key_of(actor) is not None:
        raise Forbidden("Only a person approves, not a client or an API key; log in with `soma login`.")
    if actor.act or actor.session_id is not None:
        raise Forbidden("Nobody approves for another: this token was delegated; use one of your own log-in.")
    if MFA not in actor.amr:
        raise Forbidden("Approving takes a log-in with several factors; log in anew.")
