"""Payload codec: AES-256-GCM with the key's id in the metadata, so that a key ring rotates by adding a key in front.

The key file is JSON: `{"keys": [{"kid": "k-…", "key": "<base64 of 32 bytes>"}]}`; the first key encrypts, all decrypt.
The nonce is random, 12 bytes, one per payload (NIST SP 800-38D, 8.2.2); the key id is authenticated with the data.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import BaseModel, ValidationError
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

from domain.errors import Unprocessable

ENCODING: Final = b"binary/encrypted"
_NONCE_BYTES: Final = 12
_INLINE_BYTES: Final = 64 * 1024


class _Key(BaseModel):
    kid: str
    key: str


class _KeyFile(BaseModel):
    keys: list[_Key]


@dataclass(frozen=True)
class KeyRing:
    """Keys by id; `current` encrypts."""

    current: str
    keys: dict[str, AESGCM]

    @classmethod
    def read(cls, path: Path) -> KeyRing:
        """The ring in a key file. Raises ValueError, naming the file and never a key, when it is not one."""
        try:
            parsed = _KeyFile.model_validate_json(path.read_bytes())
            keys = {entry.kid: AESGCM(base64.b64decode(entry.key, validate=True)) for entry in parsed.keys}
        except (ValidationError, ValueError, binascii.Error):
            raise ValueError(f"{path} is not a codec key ring; restore it from a backup.") from None
        if not keys:
            raise ValueError(f"{path} holds no key; restore it from a backup.")
        return cls(current=parsed.keys[0].kid, keys=keys)


class EncryptionCodec(PayloadCodec):
    """Encrypts every payload; larger ones in a thread, so that the event loop goes on."""

    def __init__(self, ring: KeyRing) -> None:
        """Encrypts with the ring's current key."""
        self._ring = ring

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypted payloads with the key's id as metadata."""
        if sum(payload.ByteSize() for payload in payloads) <= _INLINE_BYTES:
            return [self._encrypt(payload) for payload in payloads]
        return await asyncio.to_thread(lambda: [self._encrypt(payload) for payload in payloads])

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypted payloads; those in the clear stay as they are. Raises Unprocessable for one of an unknown key."""
        if sum(payload.ByteSize() for payload in payloads) <= _INLINE_BYTES:
            return [self._decrypt(payload) for payload in payloads]
        return await asyncio.to_thread(lambda: [self._decrypt(payload) for payload in payloads])

    def _encrypt(self, payload: Payload) -> Payload:
        kid = self._ring.current.encode()
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ring.keys[self._ring.current].encrypt(nonce, payload.SerializeToString(), kid)
        return Payload(metadata={"encoding": ENCODING, "encryption-key-id": kid}, data=nonce + sealed)

    def _decrypt(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        kid = payload.metadata.get("encryption-key-id", b"")
        key = self._ring.keys.get(kid.decode(errors="replace"))
        if key is None:
            raise Unprocessable("The payload was encrypted with a key that is not in the ring; add that key again.")
        try:
            clear = key.decrypt(payload.data[:_NONCE_BYTES], payload.data[_NONCE_BYTES:], kid)
        except (InvalidTag, ValueError):
            raise Unprocessable("The payload was changed after it was encrypted; it cannot be read.") from None
        return Payload.FromString(clear)
