"""Signed documents: DSSE envelopes (https://github.com/secure-systems-lab/dsse) with Ed25519, and the key files for them.

A key file is a JWK set (RFC 7517, 8037). The first private key signs; every key of a set of trusted keys verifies. What
surprises: an envelope may carry signatures by keys we do not know; one by a trusted key is enough, but every signature that
names a trusted key must hold.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from domain.errors import DependencyUnavailable, Unprocessable

_Text = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class _Jwk(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    kid: _Text
    x: str
    d: str | None = Field(default=None, repr=False)


class _JwkSet(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    keys: list[_Jwk] = Field(min_length=1)


class _Signature(BaseModel):
    keyid: str
    sig: str


class _Envelope(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    payload: str
    payload_type: str = Field(alias="payloadType")
    signatures: list[_Signature] = Field(min_length=1, max_length=20)


@dataclass(frozen=True)
class SigningKey:
    """A private key and its id."""

    key_id: str
    private: Ed25519PrivateKey = field(repr=False)

    @property
    def public(self) -> Ed25519PublicKey:
        """What verifies its signatures."""
        return self.private.public_key()


TrustedKeys = Mapping[str, Ed25519PublicKey]
"""Public keys by id."""


def new_signing_key() -> SigningKey:
    """A fresh key; its id is its thumbprint (RFC 7638)."""
    private = Ed25519PrivateKey.generate()
    members = {"crv": "Ed25519", "kty": "OKP", "x": _encode(private.public_key().public_bytes_raw())}
    thumbprint = hashlib.sha256(json.dumps(members, sort_keys=True, separators=(",", ":")).encode()).digest()
    return SigningKey(_encode(thumbprint), private)


def private_jwks(keys: Iterable[SigningKey]) -> str:
    """The content of a key file with these private keys. It is a secret."""
    return _dump({**_public_jwk(key.key_id, key.public), "d": _encode(key.private.private_bytes_raw())} for key in keys)


def public_jwks(keys: TrustedKeys) -> str:
    """The content of a key file with these public keys."""
    return _dump(_public_jwk(key_id, key) for key_id, key in keys.items())


def read_signing_key(path: Path) -> SigningKey:
    """The first private key of a key file. Raises DependencyUnavailable."""
    for jwk in _read(path):
        if jwk.d is not None:
            try:
                return SigningKey(jwk.kid, Ed25519PrivateKey.from_private_bytes(_decode(jwk.d)))
            except ValueError:
                break
    raise DependencyUnavailable(f"{path} holds no private Ed25519 key; give a JWK set with one.")


def read_trusted_keys(path: Path) -> TrustedKeys:
    """Every key of a key file, public part. Raises DependencyUnavailable."""
    keys: dict[str, Ed25519PublicKey] = {}
    for jwk in _read(path):
        try:
            key = Ed25519PublicKey.from_public_bytes(_decode(jwk.x))
        except ValueError:
            raise DependencyUnavailable(f"The key {jwk.kid} in {path} is no Ed25519 key; replace it.") from None
        if jwk.kid in keys:
            raise DependencyUnavailable(f"The key id {jwk.kid} stands twice in {path}; key ids are unique.")
        keys[jwk.kid] = key
    return keys


def sign_envelope(payload: bytes, payload_type: str, key: SigningKey) -> dict[str, Any]:
    """A DSSE envelope with one signature, ready for JSON."""
    return {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": payload_type,
        "signatures": [{"keyid": key.key_id, "sig": base64.b64encode(key.private.sign(_pae(payload_type, payload))).decode()}],
    }


def verify_envelope(envelope: object, payload_type: str, trusted: TrustedKeys) -> tuple[bytes, str]:
    """The payload of an envelope of that type and the id of the first trusted key that signed it. Raises Unprocessable."""
    try:
        read = _Envelope.model_validate(envelope)
        payload = base64.b64decode(read.payload, validate=True)
        signatures = [(signature.keyid, base64.b64decode(signature.sig, validate=True)) for signature in read.signatures]
    except (ValidationError, binascii.Error, ValueError):
        raise Unprocessable("This is no DSSE envelope; it needs payload, payloadType and signatures.") from None
    if read.payload_type != payload_type:
        raise Unprocessable(f"The envelope does not hold a {payload_type}.")
    signed = _pae(payload_type, payload)
    known = [(key_id, signature) for key_id, signature in signatures if key_id in trusted]
    if not known:
        raise Unprocessable("The envelope is not signed by a trusted key; sign it with one, or add the key to the trusted ones.")
    for key_id, signature in known:
        try:
            trusted[key_id].verify(signature, signed)
        except InvalidSignature:
            raise Unprocessable(f"The signature by the key {key_id} does not hold; the document was changed.") from None
    return payload, known[0][0]


def _pae(payload_type: str, payload: bytes) -> bytes:
    """Pre-authentication encoding of DSSE 1.0."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _read(path: Path) -> list[_Jwk]:
    try:
        return _JwkSet.model_validate_json(path.read_bytes()).keys
    except OSError as error:
        raise DependencyUnavailable(f"The key file {path} cannot be read ({error.strerror}); put it there.") from None
    except ValidationError:
        # The error would quote the file, which may hold private keys.
        raise DependencyUnavailable(f"{path} is no JWK set of Ed25519 keys; replace it.") from None


def _public_jwk(key_id: str, key: Ed25519PublicKey) -> dict[str, str]:
    return {"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": key_id, "x": _encode(key.public_bytes_raw())}


def _dump(jwks: Iterable[dict[str, str]]) -> str:
    return json.dumps({"keys": list(jwks)}, indent=1)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
