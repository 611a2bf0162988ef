"""Keys and passwords of a home, made once and never overwritten.

`signing.jwks` signs access tokens, `codec.json` encrypts payloads, `login.json` what users log in with, `constitution.json`
signs constitutions and `constitution-trusted.json` verifies them, `statement.json` signs what the platform states and
`statement-trusted.json` verifies that, `passwords.json` opens the embedded servers. Without them the data beside them cannot
be read.
"""

from __future__ import annotations

import base64
import json
import secrets
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from domain.errors import DependencyUnavailable
from workers.embedded.files import make_private, write_atomically


class Passwords(BaseModel):
    """Passwords of the embedded servers' users."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    superuser: SecretStr
    owner: SecretStr
    app: SecretStr
    relay: SecretStr
    token: SecretStr
    valkey: SecretStr


class Keys:
    """The key files of one home."""

    def __init__(self, home: Path) -> None:
        """`home` is absolute; files stand in `home/keys` (0700, each 0600)."""
        self.directory = home / "keys"
        self.signing = self.directory / "signing.jwks"
        self.codec = self.directory / "codec.json"
        self.login = self.directory / "login.json"
        self.constitution = self.directory / "constitution.json"
        self.constitution_trusted = self.directory / "constitution-trusted.json"
        self.statement = self.directory / "statement.json"
        self.statement_trusted = self.directory / "statement-trusted.json"
        self._passwords = self.directory / "passwords.json"

    def ensure(self) -> None:
        """Make what is missing. Raises OSError."""
        make_private(self.directory)
        if not self._passwords.exists():
            _write(self._passwords, {name: secrets.token_urlsafe(24) for name in Passwords.model_fields})
        if not self.signing.exists():
            _write(self.signing, {"keys": [_ed25519_key("sig")]})
        for ring in (self.codec, self.login):
            if not ring.exists():
                key = base64.b64encode(secrets.token_bytes(32)).decode()
                _write(ring, {"keys": [{"kid": f"k-{secrets.token_hex(6)}", "key": key}]})
        _ensure_pair(self.constitution, self.constitution_trusted, "con")
        _ensure_pair(self.statement, self.statement_trusted, "sta")

    def exist(self) -> bool:
        """Whether this home has been prepared."""
        return self._passwords.exists()

    def passwords(self) -> Passwords:
        """The servers' passwords. Raises DependencyUnavailable when the file is damaged."""
        try:
            return Passwords.model_validate_json(self._passwords.read_bytes())
        except (OSError, ValidationError):
            # The cause would name the values.
            raise DependencyUnavailable(
                f"{self._passwords} cannot be read; restore it from a backup, the data beside it opens with nothing else."
            ) from None


def _ensure_pair(signing: Path, trusted: Path, prefix: str) -> None:
    """A key that signs, and its public part for those who verify."""
    if not signing.exists():
        _write(signing, {"keys": [_ed25519_key(prefix)]})
    if not trusted.exists():
        private: dict[str, Any] = json.loads(signing.read_bytes())
        _write(trusted, {"keys": [_public(key) for key in private["keys"]]})


def _ed25519_key(prefix: str) -> dict[str, Any]:
    """A private JWK (RFC 8037) with a random key id."""
    # Loaded here because every command line call would pay for it.
    from joserfc.jwk import OKPKey

    key = OKPKey.generate_key("Ed25519", {"kid": f"{prefix}-{secrets.token_hex(6)}", "use": "sig"})
    return dict(key.as_dict(private=True))


def _public(key: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in key.items() if name != "d"}


def _write(path: Path, content: dict[str, Any]) -> None:
    write_atomically(path, json.dumps(content, indent=1))
