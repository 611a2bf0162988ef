"""DSSE envelopes and key files: what verifies, what does not, and that others' tools agree."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner, SSlibKey

from adapters.signing import (
    new_signing_key,
    private_jwks,
    public_jwks,
    read_signing_key,
    read_trusted_keys,
    sign_envelope,
    verify_envelope,
)
from domain.errors import DependencyUnavailable, Unprocessable
from workers.embedded.keys import Keys

KIND = "application/vnd.example+json"
KEY, OTHER = new_signing_key(), new_signing_key()
TRUSTED = {KEY.key_id: KEY.public}
ENVELOPE = sign_envelope(b'{"a":1}', KIND, KEY)


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    envelope = copy.deepcopy(ENVELOPE)
    change(envelope)
    return envelope


@given(st.binary(max_size=200))
def test_what_is_signed_verifies(payload: bytes) -> None:
    assert verify_envelope(sign_envelope(payload, KIND, KEY), KIND, TRUSTED) == (payload, KEY.key_id)


def test_verifying_leaves_the_envelope_as_it_was() -> None:
    before = copy.deepcopy(ENVELOPE)
    verify_envelope(ENVELOPE, KIND, TRUSTED)
    assert before == ENVELOPE


@pytest.mark.parametrize(
    "envelope",
    [
        changed(lambda e: e.update(payload=base64.b64encode(b'{"a":2}').decode())),
        changed(lambda e: e["signatures"][0].update(sig=base64.b64encode(b"x" * 64).decode())),
        changed(lambda e: e["signatures"][0].update(sig="")),
        changed(lambda e: e["signatures"][0].update(keyid=OTHER.key_id)),
        changed(lambda e: e.update(signatures=[])),
        changed(lambda e: e.update(payloadType="text/plain")),
        changed(lambda e: e.update(payload="not base64!")),
        changed(lambda e: e.pop("payload")),
        changed(lambda e: e.update(signatures="none")),
        sign_envelope(b'{"a":1}', "text/plain", KEY),
        sign_envelope(b'{"a":1}', KIND, OTHER),
        None,
        [],
        "text",
        {},
    ],
)
def test_what_was_changed_or_is_none_does_not_verify(envelope: object) -> None:
    with pytest.raises(Unprocessable):
        verify_envelope(envelope, KIND, TRUSTED)


def test_a_bad_signature_beside_a_good_one_does_not_verify() -> None:
    both = {KEY.key_id: KEY.public, OTHER.key_id: OTHER.public}
    second = sign_envelope(b'{"a":1}', KIND, OTHER)["signatures"][0]
    assert verify_envelope(changed(lambda e: e["signatures"].append(second)), KIND, both)[1] == KEY.key_id
    bad = {**second, "sig": ENVELOPE["signatures"][0]["sig"]}
    with pytest.raises(Unprocessable):
        verify_envelope(changed(lambda e: e["signatures"].append(bad)), KIND, both)
    assert verify_envelope(changed(lambda e: e["signatures"].append(bad)), KIND, TRUSTED)[1] == KEY.key_id


def test_another_implementation_agrees() -> None:
    public = SSlibKey.from_crypto(KEY.public, keyid=KEY.key_id)
    assert list(Envelope.from_dict(copy.deepcopy(ENVELOPE)).verify([public], 1)) == [KEY.key_id]
    theirs = Envelope(payload=b"theirs", payload_type=KIND, signatures={})
    theirs.sign(CryptoSigner(KEY.private, public))
    assert verify_envelope(theirs.to_dict(), KIND, TRUSTED) == (b"theirs", KEY.key_id)


def test_key_files_round_trip(tmp_path: Path) -> None:
    (tmp_path / "private.json").write_text(private_jwks([KEY, OTHER]))
    (tmp_path / "public.json").write_text(public_jwks({OTHER.key_id: OTHER.public}))
    read = read_signing_key(tmp_path / "private.json")
    assert (read.key_id, read.private.private_bytes_raw()) == (KEY.key_id, KEY.private.private_bytes_raw())
    assert set(read_trusted_keys(tmp_path / "private.json")) == {KEY.key_id, OTHER.key_id}
    trusted = read_trusted_keys(tmp_path / "public.json")
    assert trusted[OTHER.key_id].public_bytes_raw() == OTHER.public.public_bytes_raw()
    with pytest.raises(DependencyUnavailable):
        read_signing_key(tmp_path / "public.json")


def test_a_homes_keys_fit_each_other(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    keys.ensure()
    envelope = sign_envelope(b"x", KIND, read_signing_key(keys.constitution))
    assert verify_envelope(envelope, KIND, read_trusted_keys(keys.constitution_trusted))[0] == b"x"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        '{"keys": []}',
        "not json",
        '{"keys": [{"kty": "RSA", "kid": "k"}]}',
        '{"keys": [{"kty":"OKP","crv":"Ed25519","kid":"k","x":"AA","d":"SECRETSECRET"}]}',
    ],
)
def test_a_damaged_key_file_is_refused_without_quoting_it(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(content)
    for read in (read_signing_key, read_trusted_keys):
        with pytest.raises(DependencyUnavailable) as refused:
            read(path)
        assert "SECRET" not in str(refused.value)


def test_a_missing_or_doubled_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DependencyUnavailable):
        read_trusted_keys(tmp_path / "none.json")
    doubled = json.loads(public_jwks(TRUSTED))
    doubled["keys"] *= 2
    (tmp_path / "doubled.json").write_text(json.dumps(doubled))
    with pytest.raises(DependencyUnavailable):
        read_trusted_keys(tmp_path / "doubled.json")


def test_a_key_does_not_print_itself() -> None:
    assert "private" not in repr(KEY).replace("private=", "")
    assert KEY.private.private_bytes_raw().hex() not in repr(KEY)
