"""Secrets in a file, encrypted with AES-256-GCM under a key in another file: for one machine without Vault.

The file is JSON: `{"counter": n, "secrets": {name: {"version": n, "nonce": …, "sealed": …}}}`. Name and version are
authenticated with the value, so that none can be put in another's place. What surprises: whoever can write both files can
put an older copy of the whole file back.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import fcntl
import os
import secrets
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from adapters.secrets.names import checked
from domain.errors import InvalidRequest, SecretDenied, SecretMissing, SecretStoreUnreachable
from domain.ports.secrets import Secret

_NONCE_BYTES: Final = 12
_MOST_BYTES: Final = 64 * 1024


class _Sealed(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    version: int
    nonce: str
    sealed: str


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    counter: int = 0
    """Versions are never used again, also after a deletion."""
    secrets: dict[str, _Sealed] = {}


class EncryptedFileSecrets:
    """Implements `Secrets`; `set` and `delete` are for the command line."""

    def __init__(self, path: Path, key_path: Path) -> None:
        """`key_path` holds 32 bytes in base64 and is for its owner alone (0600); `set` makes it where there is none."""
        self._path, self._key_path = path, key_path

    async def read(self, name: str) -> Secret:
        """The value in the file now. Raises SecretMissing, SecretDenied, SecretStoreUnreachable, InvalidRequest."""
        return await asyncio.to_thread(self._decrypted, checked(name))

    async def aclose(self) -> None:
        """Nothing is kept."""

    def names(self) -> dict[str, int]:
        """Versions by name. Raises SecretDenied, SecretStoreUnreachable."""
        return {name: entry.version for name, entry in sorted(self._load().secrets.items())}

    def set(self, name: str, value: str) -> int:
        """Stores the value and returns its version. Raises InvalidRequest for an empty or too long one, and as `names` does."""
        checked(name)
        if not value or len(value.encode()) > _MOST_BYTES:
            raise InvalidRequest(f"A secret has 1 to {_MOST_BYTES} bytes; give it on standard input.")
        with self._changing() as content:
            key = self._key(make=not content.secrets)
            content.counter += 1
            nonce = os.urandom(_NONCE_BYTES)
            sealed = key.encrypt(nonce, value.encode(), _bound(name, content.counter))
            content.secrets[name] = _Sealed(
                version=content.counter, nonce=base64.b64encode(nonce).decode(), sealed=base64.b64encode(sealed).decode()
            )
            return content.counter

    def delete(self, name: str) -> None:
        """Forgets the secret. Raises SecretMissing, and as `names` does."""
        checked(name)
        with self._changing() as content:
            if content.secrets.pop(name, None) is None:
                raise _missing(name)

    def _decrypted(self, name: str) -> Secret:
        entry = self._load().secrets.get(name)
        if entry is None:
            raise _missing(name)
        try:
            nonce, sealed = (base64.b64decode(part, validate=True) for part in (entry.nonce, entry.sealed))
            value = self._key(make=False).decrypt(nonce, sealed, _bound(name, entry.version)).decode()
        except (InvalidTag, ValueError):
            raise SecretDenied(f"The secret {name} does not open with {self._key_path}; restore it, or set it anew.") from None
        return Secret(name, SecretStr(value), str(entry.version))

    def _load(self) -> _File:
        try:
            return _File.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return _File()
        except PermissionError:
            raise SecretDenied(f"{self._path} may not be read; give it to the user this process runs as.") from None
        except (OSError, ValidationError):
            raise SecretStoreUnreachable(f"{self._path} cannot be read as secrets; restore it from a backup.") from None

    def _key(self, *, make: bool) -> AESGCM:
        if make and not self._key_path.exists():
            _write(self._key_path, base64.b64encode(secrets.token_bytes(32)))
        try:
            mode, key = self._key_path.stat().st_mode, base64.b64decode(self._key_path.read_bytes().strip(), validate=True)
        except (OSError, binascii.Error):
            raise SecretDenied(f"The key {self._key_path} cannot be read; restore it from a backup.") from None
        if mode & 0o077:
            raise SecretDenied(f"Others may read the key {self._key_path}: `chmod 600` it, and change what it protects.")
        if len(key) != 32:
            raise SecretDenied(f"{self._key_path} is no key of 32 bytes in base64; restore it from a backup.")
        return AESGCM(key)

    @contextmanager
    def _changing(self) -> Generator[_File]:
        """The content, written back when the block ends well; one writer at a time."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._path.with_name(f".{self._path.name}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                content = self._load()
                yield content
                _write(self._path, content.model_dump_json(indent=1).encode())
        except OSError as error:
            raise SecretStoreUnreachable(f"{self._path} cannot be written ({error.strerror}).") from None


def _bound(name: str, version: int) -> bytes:
    return f"{version}:{name}".encode()


def _missing(name: str) -> SecretMissing:
    return SecretMissing(f"There is no secret {name}: store it with `soma secret set {name}`.")


def _write(path: Path, content: bytes) -> None:
    """Replaces the file in one step, for us alone."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd, made = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(made).replace(path)
    except BaseException:
        Path(made).unlink(missing_ok=True)
        raise
