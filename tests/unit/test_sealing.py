"""What is sealed opens with its key and its context alone, and passwords are Argon2id."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from adapters.passwords import Argon2Passwords
from adapters.sealing import FileSealer
from domain.errors import DependencyUnavailable


def ring(path: Path, *kids: str) -> Path:
    keys = {kid: base64.b64encode(bytes([number]) * 32).decode() for number, kid in enumerate(("a", "b", "c"))}
    path.write_text(json.dumps({"keys": [{"kid": kid, "key": keys[kid]} for kid in kids]}))
    return path


def test_it_opens_in_its_context_alone(tmp_path: Path) -> None:
    sealer = FileSealer(ring(tmp_path / "ring", "a"))
    sealed = sealer.seal(b"seed", "totp/t/usr_1")
    assert sealer.open(sealed, "totp/t/usr_1") == b"seed"
    assert sealer.open(sealed, "totp/t/usr_2") is None
    assert b"seed" not in sealed
    assert sealed != sealer.seal(b"seed", "totp/t/usr_1")
    for place in range(len(sealed)):
        changed = sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :]
        assert sealer.open(changed, "totp/t/usr_1") is None
    for bad in (b"", b"a", b"a\0", b"a\0short", os.urandom(60), sealed[:-1]):
        assert sealer.open(bad, "totp/t/usr_1") is None


def test_a_ring_rotates_by_a_key_in_front(tmp_path: Path) -> None:
    old = FileSealer(ring(tmp_path / "old", "a")).seal(b"seed", "x")
    rotated = FileSealer(ring(tmp_path / "new", "b", "a"))
    assert rotated.open(old, "x") == b"seed"
    assert rotated.seal(b"seed", "x").startswith(b"b\0")
    assert FileSealer(ring(tmp_path / "gone", "b")).open(old, "x") is None


@pytest.mark.parametrize(
    "content", ["", "{}", '{"keys": []}', '{"keys": [{"kid": "a", "key": "c2hvcnQ="}]}', '{"keys": [{"kid": "a", "key": "?"}]}']
)
def test_what_is_no_ring_is_said_without_its_keys(tmp_path: Path, content: str) -> None:
    path = tmp_path / "ring"
    path.write_text(content)
    with pytest.raises(DependencyUnavailable, match="LOGIN_KEY_FILE") as refused:
        FileSealer(path)
    assert "c2hvcnQ" not in refused.value.detail


def test_without_a_key_nothing_is_sealed_or_opened() -> None:
    sealer = FileSealer(None)
    for call in (lambda: sealer.seal(b"x", "x"), lambda: sealer.open(b"x", "x")):
        with pytest.raises(DependencyUnavailable, match="LOGIN_KEY_FILE"):
            call()


async def test_passwords_are_argon2id_and_nobody_has_none() -> None:
    passwords = Argon2Passwords()
    hashed = await passwords.hash("correct horse")
    assert hashed.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert hashed != await passwords.hash("correct horse")
    assert await passwords.matches(hashed, "correct horse")
    assert not await passwords.matches(hashed, "Correct horse")
    # Compared all the same, and with what hashing nothing would have given.
    assert not await passwords.matches(None, "")
    assert not await passwords.matches("no hash", "x")
