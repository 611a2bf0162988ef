"""Delegation: an access token from which a narrower one is made for somebody who acts on behalf of its subject (RFC 8693).

What is delegated only narrows. Of its scopes each is within what the token it comes from holds, and within what holds whoever
acts; it expires no later; its model calls count against the budgets of all tokens above it. It names those tokens, so that
whatever ends one of them ends everything delegated from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from domain import capabilities
from domain.actors import Actor, Ancestor
from domain.api_keys import key_of
from domain.budgets import BudgetKey
from domain.errors import InsufficientScope, InvalidRequest
from domain.ids import SessionId
from domain.names import BudgetScope

MAX_DEPTH: Final = 4
"""How often a token may be delegated on: the length of its `act` chain."""


def delegate(
    subject: Actor,
    *,
    client_id: str,
    held: tuple[str, ...],
    actor: Actor | None,
    wanted: tuple[str, ...],
    jti: str,
    issued_at: datetime,
    seconds: int,
) -> Actor:
    """The actor of a token that is delegated from `subject`'s to a client that holds the capabilities `held`.

    Who acts is the client, or the subject of `actor`'s token, which then is another parent. `wanted` are its scopes; all that
    may be delegated when it is empty. It lives `seconds` at most. Raises InvalidRequest for tokens that cannot be delegated,
    InsufficientScope for scopes that would widen.
    """
    _check(subject, actor)
    parents = (subject,) if actor is None else (subject, actor)
    scopes = _narrowed(wanted, subject.scopes, (held, *(parent.scopes for parent in parents)))
    return Actor(
        tenant_id=subject.tenant_id,
        subject=subject.subject,
        client_id=client_id,
        scopes=scopes,
        jti=jti,
        act=(client_id if actor is None else actor.subject, *subject.act),
        constitution_hash=subject.constitution_hash,
        issued_at=issued_at.replace(microsecond=0),
        ancestors=(*map(_ancestor, parents), *subject.ancestors),
        expires_at=_expiry(parents, issued_at, seconds),
    )


def bound_to_session(
    actor: Actor, session_id: SessionId, scopes: tuple[str, ...], jti: str, issued_at: datetime, seconds: int
) -> Actor:
    """The actor of a token for one session alone that is made from a delegated one: who acts stays, and so do its bounds.

    Raises InvalidRequest when the token it is made from has just expired."""
    return actor.model_copy(
        update={
            "session_id": session_id,
            "scopes": scopes,
            "jti": jti,
            "issued_at": issued_at.replace(microsecond=0),
            "ancestors": (_ancestor(actor), *actor.ancestors),
            "expires_at": _expiry((actor,), issued_at, seconds),
        }
    )


def is_delegated(actor: Actor) -> bool:
    """Whether the actor's token was delegated from another."""
    return bool(actor.ancestors)


def lineage(actor: Actor) -> tuple[str, ...]:
    """The jtis of the actor's token and of all it was delegated from, nearest first."""
    return (actor.jti, *(ancestor.jti for ancestor in actor.ancestors))


def budget_keys(actor: Actor) -> tuple[BudgetKey, ...]:
    """The delegation budgets that a call of the actor's counts against."""
    return tuple(BudgetKey(scope=BudgetScope.DELEGATION, scope_id=jti) for jti in lineage(actor))


def holders(actor: Actor) -> tuple[str, ...]:
    """The clients that hold the actor's token and those it was delegated from, each once, nearest first."""
    return tuple(dict.fromkeys((actor.client_id, *(ancestor.client_id for ancestor in actor.ancestors))))


def lifetime(actor: Actor) -> int:
    """How long the actor's token lives, in seconds. Raises ValueError for one that does not say."""
    if actor.issued_at is None or actor.expires_at is None:
        raise ValueError("The token does not say when it was issued and when it expires")
    return int((actor.expires_at - actor.issued_at).total_seconds())


def _check(subject: Actor, actor: Actor | None) -> None:
    if subject.session_id is not None or key_of(subject) is not None:
        raise InvalidRequest("The subject_token is bound to a session or an API key, which is not delegated.")
    if len(subject.act) >= MAX_DEPTH:
        raise InvalidRequest(f"The subject_token was delegated {MAX_DEPTH} times, which is as deep as it goes.")
    if actor is None:
        return
    if actor.tenant_id != subject.tenant_id:
        raise InvalidRequest("The two tokens are of different tenants.")
    if actor.session_id is not None or key_of(actor) is not None or actor.act:
        raise InvalidRequest("The actor_token must be the actor's own: neither delegated nor bound to a session or an API key.")
    if actor.jti in lineage(subject):
        raise InvalidRequest("The actor_token is the subject_token, or one that it was delegated from.")


def _narrowed(wanted: tuple[str, ...], offered: tuple[str, ...], holders: tuple[Iterable[str], ...]) -> tuple[str, ...]:
    """The scopes, each within what every holder holds. Raises InsufficientScope for a wider one, and for none."""
    kept = tuple(dict.fromkeys(wanted or offered))
    narrow = tuple(scope for scope in kept if all(capabilities.within(scope, held) for held in holders))
    if not narrow or (wanted and narrow != kept):
        raise InsufficientScope("A scope that was asked for is not within those of the subject_token and of whoever acts.")
    return narrow


def _expiry(parents: tuple[Actor, ...], issued_at: datetime, seconds: int) -> datetime:
    """Raises InvalidRequest when nothing is left of a parent's life."""
    issued = issued_at.replace(microsecond=0)
    bounds = [parent.expires_at for parent in parents if parent.expires_at is not None]
    expires = min((issued + timedelta(seconds=seconds), *bounds)).replace(microsecond=0)
    if expires <= issued:
        raise InvalidRequest("The token has expired; get a new one.")
    return expires


def _ancestor(parent: Actor) -> Ancestor:
    if parent.issued_at is None:
        raise InvalidRequest("The token does not say when it was issued.")
    return Ancestor(
        jti=parent.jti,
        client_id=parent.client_id,
        subject=parent.act[0] if parent.act else parent.subject,
        issued_at=parent.issued_at,
    )
