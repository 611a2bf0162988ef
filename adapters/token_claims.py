"""The claims of our access tokens (RFC 9068), and the actors they tell of."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, cast

from domain.actors import Actor, Ancestor
from domain.errors import Unauthenticated

OWN_CLAIMS: Final = frozenset(
    {"iss", "aud", "exp", "iat", "sub", "client_id", "jti", "scope", "tenant", "constitution_hash", "act", "ancestors"}
)
_OPTIONAL: Final = ("constitution_hash", "session_id", "key_id")


def claims_of(actor: Actor, issued_at: int, expires_at: int) -> dict[str, Any]:
    """All claims but the issuer and the audience; times are in seconds since the epoch."""
    claims: dict[str, Any] = {
        "iat": issued_at,
        "exp": expires_at,
        "sub": actor.subject,
        "client_id": actor.client_id,
        "jti": actor.jti,
        "scope": " ".join(actor.scopes),
        "tenant": actor.tenant_id,
    }
    claims |= {name: value for name in _OPTIONAL if (value := getattr(actor, name)) is not None}
    if actor.amr:
        claims["amr"] = list(actor.amr)
    if actor.act:
        claims["act"] = _nested(actor.act)
    if actor.ancestors:
        claims["ancestors"] = [_written(ancestor) for ancestor in actor.ancestors]
    return claims


def time_of(value: Any) -> float:
    """A NumericDate (RFC 7519, 2). Raises Unauthenticated for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        raise invalid("has no usable times")
    return value


def invalid(what: str) -> Unauthenticated:
    """What is wrong with a token; it is never quoted."""
    return Unauthenticated(f"The access token {what}; get a new one from the token endpoint.")


def actor_of(claims: dict[str, Any]) -> Actor:
    """Raises Unauthenticated for claims that no token of ours has."""
    try:
        return Actor(
            tenant_id=claims["tenant"],
            subject=claims["sub"],
            client_id=claims["client_id"],
            scopes=tuple(claims["scope"].split()),
            jti=claims["jti"],
            act=_delegation(claims.get("act")),
            constitution_hash=claims.get("constitution_hash"),
            session_id=claims.get("session_id"),
            key_id=claims.get("key_id"),
            issued_at=datetime.fromtimestamp(claims["iat"], UTC),
            ancestors=tuple(map(_ancestor, claims.get("ancestors", ()))),
            expires_at=datetime.fromtimestamp(claims["exp"], UTC),
            amr=_methods(claims.get("amr")),
        )
    except (KeyError, AttributeError, TypeError, ValueError, OverflowError, OSError):
        raise invalid("lacks a claim or has a malformed one") from None


def _methods(amr: Any) -> tuple[str, ...]:
    """The authentication methods of `amr` (RFC 8176). Raises KeyError for a malformed one."""
    if amr is None:
        return ()
    if not isinstance(amr, list) or not all(isinstance(method, str) for method in cast("list[Any]", amr)):
        raise KeyError("amr")
    return tuple(cast("list[str]", amr))


def _delegation(act: Any) -> tuple[str, ...]:
    """The subjects of nested `act` claims (RFC 8693, 4.1), nearest first. Raises KeyError for a malformed chain."""
    chain: list[str] = []
    while act is not None:
        if not isinstance(act, dict):
            raise KeyError("act")
        nested = cast("dict[str, Any]", act)
        chain.append(nested["sub"])
        act = nested.get("act")
    return tuple(chain)


def _nested(chain: tuple[str, ...]) -> dict[str, Any]:
    """The chain as nested `act` claims, the nearest actor outermost."""
    act: dict[str, Any] = {}
    for subject in reversed(chain):
        act = {"sub": subject, "act": act} if act else {"sub": subject}
    return act


def _written(ancestor: Ancestor) -> dict[str, Any]:
    return {
        "jti": ancestor.jti,
        "client_id": ancestor.client_id,
        "sub": ancestor.subject,
        "iat": int(ancestor.issued_at.timestamp()),
    }


def _ancestor(claim: dict[str, Any]) -> Ancestor:
    issued_at = datetime.fromtimestamp(time_of(claim["iat"]), UTC)
    return Ancestor(jti=claim["jti"], client_id=claim["client_id"], subject=claim["sub"], issued_at=issued_at)
