"""The signing keys in their file: read again when it changes, and rotated.

A rotation puts a fresh key first. The one that signed until then keeps its public part until the last token it signed has
expired, so nobody has to fetch a token anew. What a stolen key signs is void once the key is taken out of the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import structlog

from adapters.tokens import JoseTokens, generate_signing_key
from domain.actors import Actor

MARGIN_SECONDS: Final = 60
"""What an old key verifies beyond the lifetime of its last token: clocks differ."""
_PRIVATE: Final = "d"

log = structlog.get_logger("adapters.signing_keys")


class FileTokens:
    """Implements `Tokens` with the keys of a file, whose changes count from the next call on.

    While the file cannot be used every call raises DependencyUnavailable: a key may have been taken out of it.
    """

    def __init__(self, path: Path, *, issuer: str, audience: str, lifetime_seconds: int) -> None:
        """Raises DependencyUnavailable when the file cannot be used."""
        self._path = path
        self._options: dict[str, Any] = {"issuer": issuer, "audience": audience, "lifetime_seconds": lifetime_seconds}
        self._state = self._look()
        self._tokens = JoseTokens.from_file(path, **self._options)

    def mint(self, **claims: Any) -> tuple[str, int]:
        """A token signed with the first key, and its lifetime in seconds; as `JoseTokens.mint`. Raises DependencyUnavailable."""
        return self._current().mint(**claims)

    def sign(self, actor: Actor) -> str:
        """A token signed with the first key; as `JoseTokens.sign`. Raises DependencyUnavailable."""
        return self._current().sign(actor)

    def verify(self, token: str) -> Actor:
        """The claims as an Actor. Raises Unauthenticated, DependencyUnavailable."""
        return self._current().verify(token)

    def jwks(self) -> dict[str, Any]:
        """The public keys (RFC 7517). Raises DependencyUnavailable."""
        return self._current().jwks()

    def _current(self) -> JoseTokens:
        state = self._look()
        if state != self._state:
            self._tokens = JoseTokens.from_file(self._path, **self._options)
            # Only now: a file that cannot be used is read again with every call.
            self._state = state
            log.info("signing_keys.read", kids=[key["kid"] for key in self._tokens.jwks()["keys"]])
        return self._tokens

    def _look(self) -> tuple[int, ...]:
        """What tells one state of the file from another."""
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return found.st_ino, found.st_mtime_ns, found.st_size


def rotated(key_set: dict[str, Any], now: int, lifetime_seconds: int) -> dict[str, Any]:
    """The JWK set after a rotation at that time (seconds since the epoch): a fresh key, then those that still verify.

    `exp` is when a key may go; the former signing key loses its private part. Keys without one stay: somebody put them there.
    """
    former, *others = key_set["keys"]
    public = {name: value for name, value in former.items() if name != _PRIVATE}
    kept = [key for key in others if key.get("exp", now + 1) > now]
    return {"keys": [generate_signing_key(), public | {"exp": now + lifetime_seconds + MARGIN_SECONDS}, *kept]}
