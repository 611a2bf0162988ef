"""Signing keys in a file: rotation keeps old tokens good, and a file that cannot be used stops everything."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from adapters.signing_keys import MARGIN_SECONDS, FileTokens, rotated
from adapters.tokens import generate_signing_key
from domain.errors import DependencyUnavailable, Unauthenticated

LIFETIME = 900


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "signing.jwks"
    found.write_text(json.dumps({"keys": [generate_signing_key()]}))
    return found


def tokens_of(path: Path) -> FileTokens:
    return FileTokens(path, issuer="https://gateway.example", audience="somagent", lifetime_seconds=LIFETIME)


def mint(tokens: FileTokens) -> str:
    values: dict[str, Any] = {"tenant_id": "demo", "subject": "s", "client_id": "c", "scopes": ("session:read",)}
    return tokens.mint(**values, constitution_hash=None)[0]


def rotate(path: Path, now: float | None = None) -> list[dict[str, Any]]:
    keys = rotated(json.loads(path.read_bytes()), int(now or time.time()), LIFETIME)
    # As an operator's tool or a mounted secret does it: another file in its place.
    (path.parent / "new").write_text(json.dumps(keys))
    (path.parent / "new").replace(path)
    return keys["keys"]


def kids(tokens: FileTokens) -> list[str]:
    return [key["kid"] for key in tokens.jwks()["keys"]]


def test_a_rotation_is_noticed_and_old_tokens_stay_good(path: Path) -> None:
    first, second = tokens_of(path), tokens_of(path)
    old = mint(first)
    made = rotate(path)
    new = mint(first)
    assert kids(first) == kids(second) == [key["kid"] for key in made]
    for tokens in (first, second):
        assert {tokens.verify(token).tenant_id for token in (old, new)} == {"demo"}
    assert all("d" not in key for key in first.jwks()["keys"])


def test_the_former_key_can_sign_no_more_and_goes_in_time(path: Path) -> None:
    now = 1_000_000
    former = json.loads(path.read_bytes())["keys"][0]
    fresh, kept = rotate(path, now)
    assert "d" in fresh
    assert kept == {name: value for name, value in former.items() if name != "d"} | {"exp": now + LIFETIME + MARGIN_SECONDS}
    assert [key["kid"] for key in rotate(path, now + LIFETIME)[1:]] == [fresh["kid"], former["kid"]]
    assert former["kid"] not in [key["kid"] for key in rotate(path, kept["exp"])]


def test_a_key_that_somebody_put_there_to_verify_stays(path: Path) -> None:
    ours, theirs = json.loads(path.read_bytes())["keys"][0], generate_signing_key()
    public = {name: value for name, value in theirs.items() if name != "d"}
    path.write_text(json.dumps({"keys": [ours, public]}))
    assert rotate(path)[2] == public


def test_a_key_that_is_taken_out_verifies_nothing_from_then_on(path: Path) -> None:
    tokens = tokens_of(path)
    stolen = mint(tokens)
    tokens.verify(stolen)
    keys = rotate(path)
    path.write_text(json.dumps({"keys": keys[:1]}))
    with pytest.raises(Unauthenticated):
        tokens.verify(stolen)
    tokens.verify(mint(tokens))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"keys": []}', '{"keys": [{"kty": "OKP"}]}', None])
def test_while_the_file_cannot_be_used_nothing_is_signed_or_verified(path: Path, content: str | None) -> None:
    tokens, whole = tokens_of(path), path.read_text()
    old = mint(tokens)
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    for call in (lambda: tokens.verify(old), lambda: mint(tokens), tokens.jwks, lambda: tokens_of(path)):
        for _ in range(2):
            with pytest.raises(DependencyUnavailable):
                call()
    path.write_text(whole)
    tokens.verify(old)
    rotate(path)
    assert len(kids(tokens)) == 2
