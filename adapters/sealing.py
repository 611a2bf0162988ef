"""What must be kept readable, encrypted at rest: AES-256-GCM with a key of a file, bound to what it is and whose.

The file is JSON: `{"keys": [{"kid": "…", "key": "<base64 of 32 bytes>"}]}`; the first key seals, all open. Sealed bytes begin
with the key's id and a zero byte, then the random nonce of 12 bytes (NIST SP 800-38D, 8.2.2).
"""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path
from typing import Annotated, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import BaseModel, Field, StringConstraints, ValidationError

from domain.errors import DependencyUnavailable

_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32


class _Key(BaseModel):
    kid: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    key: str


class _KeyFile(BaseModel):
    keys: list[_Key] = Field(min_length=1)


class FileSealer:
    """Implements `Sealer`. Without a file every call raises DependencyUnavailable."""

    def __init__(self, path: Path | None) -> None:
        """Reads the file. Raises DependencyUnavailable, naming the file and never a key, when it is no key ring."""
        self._keys: dict[str, AESGCM] = {}
        if path is not None:
            self._keys = _read(path)

    def seal(self, clear: bytes, context: str) -> bytes:
        """Encrypted with the first key."""
        kid, key = next(iter(self._known().items()))
        nonce = os.urandom(_NONCE_BYTES)
        return kid.encode() + b"\0" + nonce + key.encrypt(nonce, clear, _bound(kid, context))

    def open(self, sealed: bytes, context: str) -> bytes | None:
        """In the clear; None for what was not sealed so."""
        kid, zero, rest = sealed.partition(b"\0")
        key = self._known().get(kid.decode("ascii", errors="replace"))
        if key is None or not zero:
            return None
        try:
            return key.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], _bound(kid.decode(), context))
        except (InvalidTag, ValueError):
            return None

    def _known(self) -> dict[str, AESGCM]:
        if not self._keys:
            raise DependencyUnavailable(
                "LOGIN_KEY_FILE is not set, so nobody can log in; name the key ring that seals TOTP seeds."
            )
        return self._keys


def _bound(kid: str, context: str) -> bytes:
    return f"{kid}\0{context}".encode()


def _read(path: Path) -> dict[str, AESGCM]:
    try:
        found = {
            each.kid: base64.b64decode(each.key, validate=True) for each in _KeyFile.model_validate_json(path.read_bytes()).keys
        }
        if any(len(key) != _KEY_BYTES for key in found.values()):
            raise ValueError
    except (OSError, ValidationError, ValueError, binascii.Error):
        # The cause could quote a key.
        raise DependencyUnavailable(f"{path} is no key ring; LOGIN_KEY_FILE must name one. Restore it from a backup.") from None
    return {kid: AESGCM(key) for kid, key in found.items()}
