"""Access tokens: JWTs (RFC 9068) signed with Ed25519, the first key of a JWK set signing and all of them verifying.

The header says `alg: EdDSA`, which every verifier knows. RFC 9864 prefers the name `Ed25519`, and joserfc warns about the
older one; the registry here therefore holds the curve-bound implementation under that name, and no other algorithm at all:
what a token's header asks for is never a choice.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwa import JWS_ALGORITHMS, JWSAlgModel
from joserfc.jwk import KeySet, OKPKey
from joserfc.jws import JWSRegistry
from uuid_utils.compat import uuid7

from domain.actors import Actor
from domain.errors import DependencyUnavailable, Unauthenticated

ALGORITHM: Final = "EdDSA"
TYPE: Final = "at+jwt"
LEEWAY_SECONDS: Final = 5
MAX_TOKEN_CHARACTERS: Final = 8192
_MAX_REMEMBERED: Final = 4096
_CURVE: Final = "Ed25519"
_OWN_CLAIMS: Final = frozenset(
    {"iss", "aud", "exp", "iat", "sub", "client_id", "jti", "scope", "tenant", "constitution_hash", "act"}
)
_COMPACT: Final = re.compile(r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$")


class _OnlyEd25519(JWSRegistry):
    """Knows one algorithm."""

    def __init__(self) -> None:
        super().__init__(algorithms=[ALGORITHM])
        self.algorithms: dict[str, JWSAlgModel] = {ALGORITHM: next(alg for alg in JWS_ALGORITHMS if alg.name == _CURVE)}


class JoseTokens:
    """Implements `Tokens` with the keys of a JWK set."""

    def __init__(
        self,
        key_set: dict[str, Any],
        *,
        issuer: str,
        audience: str,
        lifetime_seconds: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`key_set` holds Ed25519 JWKs (RFC 8037), the first with its private part; `clock` gives seconds since the epoch.
        Raises DependencyUnavailable when there is no such key."""
        self._keys = _read_keys(key_set)
        self._signing = self._keys.keys[0]
        self._registry = _OnlyEd25519()
        self._issuer = issuer
        self._audience = audience
        self._lifetime = lifetime_seconds
        self._clock = clock
        self._verified: dict[bytes, tuple[float, Actor]] = {}

    @classmethod
    def from_file(cls, path: Path, *, issuer: str, audience: str, lifetime_seconds: int) -> JoseTokens:
        """With the JWK set in that file. Raises DependencyUnavailable when it cannot be used."""
        try:
            key_set: Any = json.loads(path.read_bytes())
        except (OSError, ValueError):
            # The cause could quote the key.
            raise DependencyUnavailable(f"{path} is no readable JWK set; SIGNING_KEY_FILE must name one.") from None
        return cls(key_set, issuer=issuer, audience=audience, lifetime_seconds=lifetime_seconds)

    def mint(
        self,
        *,
        tenant_id: str,
        subject: str,
        client_id: str,
        scopes: tuple[str, ...],
        constitution_hash: str | None,
        claims: dict[str, Any] | None = None,
    ) -> tuple[str, int]:
        """A signed token and its lifetime in seconds. `claims` adds to the token's own and never replaces one; a session's
        capability token carries `session_id`, and `key_id` when it was made for an API key. Raises ValueError for a claim
        that would replace one."""
        extra = claims or {}
        if taken := _OWN_CLAIMS & extra.keys():
            raise ValueError(f"These claims are the token's own: {', '.join(sorted(taken))}")
        now = int(self._clock())
        content: dict[str, Any] = {
            **extra,
            "iss": self._issuer,
            "aud": self._audience,
            "iat": now,
            "exp": now + self._lifetime,
            "sub": subject,
            "client_id": client_id,
            "jti": uuid7().hex,
            "scope": " ".join(scopes),
            "tenant": tenant_id,
        }
        if constitution_hash is not None:
            content["constitution_hash"] = constitution_hash
        header = {"alg": ALGORITHM, "typ": TYPE, "kid": self._signing.kid}
        return jwt.encode(header, content, self._signing, registry=self._registry), self._lifetime

    def verify(self, token: str) -> Actor:
        """The claims as an Actor. Raises Unauthenticated, saying what is wrong with the token but never quoting it.

        What was verified is remembered by the token's digest until it expires: a signature does not change its mind."""
        if len(token) > MAX_TOKEN_CHARACTERS or _COMPACT.match(token) is None:
            raise _invalid("is not a signed JWT")
        digest = hashlib.sha256(token.encode()).digest()
        known = self._verified.get(digest)
        if known is not None and known[0] + LEEWAY_SECONDS > self._clock():
            return known[1]
        actor, expires = self._verify(token)
        if len(self._verified) >= _MAX_REMEMBERED:
            self._verified.clear()
        self._verified[digest] = (expires, actor)
        return actor

    def _verify(self, token: str) -> tuple[Actor, float]:
        """The actor, and when the token expires."""
        try:
            decoded = jwt.decode(token, self._keys, registry=self._registry)
        except (JoseError, ValueError, TypeError, KeyError, RecursionError):
            raise _invalid("is not signed with a key of ours") from None
        if decoded.header.get("typ") not in (TYPE, f"application/{TYPE}") or "kid" not in decoded.header:
            raise _invalid("is no access token")
        claims: dict[str, Any] = decoded.claims
        expires = self._check_times(claims)
        if claims.get("iss") != self._issuer:
            raise _invalid("comes from another issuer")
        audience: Any = claims.get("aud")
        if self._audience not in (cast("list[Any]", audience) if isinstance(audience, list) else [audience]):
            raise _invalid("is meant for another audience")
        return _actor(claims), expires

    def jwks(self) -> dict[str, Any]:
        """The public keys (RFC 7517)."""
        keys = self._keys.as_dict(private=False)["keys"]
        return {"keys": [{**key, "use": "sig", "alg": ALGORITHM} for key in keys]}

    def _check_times(self, claims: dict[str, Any]) -> float:
        """When it expires."""
        now = self._clock()
        issued, expires = _time(claims.get("iat")), _time(claims.get("exp"))
        if expires + LEEWAY_SECONDS <= now:
            raise _invalid("has expired")
        if issued - LEEWAY_SECONDS > now:
            raise _invalid("is not valid yet")
        return expires


def generate_signing_key() -> dict[str, Any]:
    """A fresh private Ed25519 JWK, its `kid` the thumbprint of RFC 7638."""
    key = OKPKey.generate_key(_CURVE, {"use": "sig"}, auto_kid=True)
    return dict(key.as_dict(private=True))


def _read_keys(key_set: Any) -> KeySet:
    try:
        keys = KeySet([OKPKey.import_key(key) for key in key_set["keys"]])
    except (JoseError, ValueError, TypeError, KeyError):
        raise DependencyUnavailable("The signing keys are no set of Ed25519 JWKs; make one with a private first key.") from None
    if not keys.keys or not keys.keys[0].is_private or any(cast(OKPKey, key).curve_name != _CURVE for key in keys.keys):
        raise DependencyUnavailable("The first signing key must be a private Ed25519 key, and the others Ed25519 keys.")
    return keys


def _time(value: Any) -> float:
    """A NumericDate (RFC 7519, 2). Raises Unauthenticated for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        raise _invalid("has no usable times")
    return value


def _invalid(what: str) -> Unauthenticated:
    return Unauthenticated(f"The access token {what}; get a new one from the token endpoint.")


def _actor(claims: dict[str, Any]) -> Actor:
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
            amr=_methods(claims.get("amr")),
        )
    except (KeyError, AttributeError, ValueError, OverflowError, OSError):
        raise _invalid("lacks a claim or has a malformed one") from None


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
