"""Access tokens: what is minted verifies, and every tampering, confusion and expiry is refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey

from adapters.tokens import JoseTokens, generate_signing_key
from domain.actors import Actor
from domain.errors import DependencyUnavailable, Unauthenticated

ISSUER = "https://gateway.example"
NOW = 1_800_000_000.0


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def make(key_set: dict[str, Any] | None = None, clock: Clock | None = None, **changes: Any) -> JoseTokens:
    values: dict[str, Any] = {"issuer": ISSUER, "audience": "somagent", "lifetime_seconds": 900} | changes
    return JoseTokens(key_set or {"keys": [generate_signing_key()]}, clock=clock or Clock(), **values)


def mint(tokens: JoseTokens, **changes: Any) -> str:
    values: dict[str, Any] = {
        "tenant_id": "demo",
        "subject": "cli_1",
        "client_id": "cli_1",
        "scopes": ("session:start", "session:read"),
        "constitution_hash": "a" * 64,
    }
    return tokens.mint(**(values | changes))[0]


def part(token: str, index: int) -> dict[str, Any]:
    text = token.split(".")[index]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def encoded(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def test_a_minted_token_verifies_to_its_actor() -> None:
    tokens = make()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        actor = tokens.verify(mint(tokens))
    assert actor == Actor(
        tenant_id="demo",
        subject="cli_1",
        client_id="cli_1",
        scopes=("session:start", "session:read"),
        jti=actor.jti,
        constitution_hash="a" * 64,
        issued_at=datetime.fromtimestamp(NOW, UTC),
        expires_at=datetime.fromtimestamp(NOW + 900, UTC),
    )


def test_header_and_claims_are_those_of_rfc_9068() -> None:
    key = generate_signing_key()
    token = mint(make({"keys": [key]}))
    assert part(token, 0) == {"alg": "EdDSA", "typ": "at+jwt", "kid": key["kid"]}
    claims = part(token, 1)
    assert claims["iss"] == ISSUER
    assert claims["aud"] == "somagent"
    assert (claims["iat"], claims["exp"]) == (NOW, NOW + 900)
    assert claims["scope"] == "session:start session:read"
    assert (claims["tenant"], claims["constitution_hash"]) == ("demo", "a" * 64)
    assert len(claims["jti"]) == 32
    assert part(mint(make({"keys": [key]})), 1)["jti"] != claims["jti"]


def test_a_capability_token_is_bound_to_its_session() -> None:
    tokens = make()
    session = "ses_" + "0" * 32
    assert tokens.verify(mint(tokens, claims={"session_id": session})).session_id == session


def test_extra_claims_replace_none_of_the_tokens_own() -> None:
    with pytest.raises(ValueError, match="tenant"):
        mint(make(), claims={"tenant": "other"})


def test_a_delegation_chain_is_read_nearest_first() -> None:
    key = generate_signing_key()
    claims = part(mint(make({"keys": [key]})), 1) | {"act": {"sub": "near", "act": {"sub": "far"}}}
    assert make({"keys": [key]}).verify(signed(key, claims)).act == ("near", "far")


def test_any_key_of_the_set_verifies_and_the_first_signs() -> None:
    old, new = generate_signing_key(), generate_signing_key()
    before = mint(make({"keys": [old]}))
    rotated = make({"keys": [new, old]})
    assert rotated.verify(before).tenant_id == "demo"
    assert part(mint(rotated), 0)["kid"] == new["kid"]


def test_published_keys_are_public_and_verify() -> None:
    tokens = make()
    published = tokens.jwks()
    assert [sorted(key) for key in published["keys"]] == [["alg", "crv", "kid", "kty", "use", "x"]]
    decoded = jwt.decode(mint(tokens), OKPKey.import_key({**published["keys"][0], "alg": "Ed25519"}), registry=make()._registry)
    assert decoded.claims["tenant"] == "demo"


def signed(key: dict[str, Any], claims: dict[str, Any], **header: Any) -> str:
    """Any claims under our own key, as an attacker who had it could sign them."""
    tokens = make({"keys": [key]})
    fields = {"alg": "EdDSA", "typ": "at+jwt", "kid": key["kid"]} | header
    chosen = {name: value for name, value in fields.items() if value is not None}
    return jwt.encode(chosen, claims, OKPKey.import_key(key), registry=tokens._registry, default_type=None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"iss": "https://elsewhere.example"}, "issuer"),
        ({"aud": "other"}, "audience"),
        ({"aud": ["other", "another"]}, "audience"),
        ({"aud": None}, "audience"),
        ({"exp": NOW - 5}, "expired"),
        ({"iat": NOW + 6}, "not valid yet"),
        ({"exp": None}, "times"),
        ({"exp": True}, "times"),
        ({"exp": float("inf")}, "times"),
        ({"exp": "tomorrow"}, "times"),
        ({"iat": -1}, "times"),
        ({"tenant": None}, "claim"),
        ({"tenant": "Not A Slug"}, "claim"),
        ({"scope": None}, "claim"),
        ({"scope": ["session:start"]}, "claim"),
        ({"client_id": 7}, "claim"),
        ({"jti": None}, "claim"),
        ({"act": "nobody"}, "claim"),
        ({"session_id": "ses_1"}, "claim"),
        ({"ancestors": "nobody"}, "claim"),
        ({"ancestors": 7}, "claim"),
        ({"ancestors": [7]}, "claim"),
        ({"ancestors": [{"jti": "a", "client_id": "b", "sub": "c"}]}, "claim"),
        ({"ancestors": [{"jti": "a", "client_id": "b", "sub": "c", "iat": -1}]}, "times"),
        ({"exp": 2**52}, "claim"),
    ],
)
def test_claims_that_do_not_hold_are_refused(change: dict[str, Any], said: str) -> None:
    key = generate_signing_key()
    claims = part(mint(make({"keys": [key]})), 1) | change
    claims = {name: value for name, value in claims.items() if value is not None}
    with pytest.raises(Unauthenticated, match=said):
        make({"keys": [key]}).verify(signed(key, claims))


def test_an_audience_among_several_is_enough() -> None:
    key = generate_signing_key()
    claims = part(mint(make({"keys": [key]})), 1) | {"aud": ["other", "somagent"]}
    assert make({"keys": [key]}).verify(signed(key, claims)).client_id == "cli_1"


@pytest.mark.parametrize(
    "header", [{"typ": "JWT"}, {"typ": None}, {"kid": None}, {"kid": "unknown"}, {"kid": ["a"]}, {"crit": ["exp"]}]
)
def test_headers_that_are_no_access_tokens_are_refused(header: dict[str, Any]) -> None:
    key = generate_signing_key()
    token = mint(make({"keys": [key]}))
    head = {name: value for name, value in (part(token, 0) | header).items() if value is not None}
    body = token.split(".")[1]
    signature = OKPKey.import_key(key).private_key.sign(f"{encoded(head)}.{body}".encode())
    with pytest.raises(Unauthenticated):
        make({"keys": [key]}).verify(f"{encoded(head)}.{body}.{encoded(signature)}")


def test_alg_none_is_refused() -> None:
    token = mint(make())
    head = encoded(part(token, 0) | {"alg": "none"})
    for signature in ("", token.split(".")[2]):
        with pytest.raises(Unauthenticated):
            make().verify(f"{head}.{token.split('.')[1]}.{signature}")


def test_a_public_key_used_as_a_shared_secret_is_refused() -> None:
    key = generate_signing_key()
    tokens = make({"keys": [key]})
    body = mint(tokens).split(".")[1]
    public = tokens.jwks()["keys"][0]
    raw = base64.urlsafe_b64decode(public["x"] + "==")
    for secret in (raw, public["x"].encode(), json.dumps(public).encode(), OKPKey.import_key(public).as_pem()):
        head = encoded({"alg": "HS256", "typ": "at+jwt", "kid": key["kid"]})
        signature = hmac.new(secret, f"{head}.{body}".encode(), hashlib.sha256).digest()
        with pytest.raises(Unauthenticated):
            tokens.verify(f"{head}.{body}.{encoded(signature)}")


def test_a_foreign_key_with_our_key_id_is_refused() -> None:
    ours, foreign = generate_signing_key(), generate_signing_key()
    token = mint(make({"keys": [foreign | {"kid": ours["kid"]}]}))
    with pytest.raises(Unauthenticated):
        make({"keys": [ours]}).verify(token)


def test_expiry_allows_five_seconds_and_no_more() -> None:
    key, clock = generate_signing_key(), Clock()
    token = mint(make({"keys": [key]}))
    clock.now = NOW + 900 + 4.9
    assert make({"keys": [key]}, clock).verify(token)
    clock.now = NOW + 905
    with pytest.raises(Unauthenticated, match="expired"):
        make({"keys": [key]}, clock).verify(token)


def test_a_token_that_was_seen_expires_all_the_same() -> None:
    clock = Clock()
    tokens = make(clock=clock)
    token = mint(tokens)
    assert tokens.verify(token) is tokens.verify(token)
    clock.now = NOW + 904.9
    assert tokens.verify(token)
    clock.now = NOW + 905
    with pytest.raises(Unauthenticated, match="expired"):
        tokens.verify(token)


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_one_changed_byte_anywhere_is_refused(position: int, change: int) -> None:
    token = mint(TOKENS)
    raw = [base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) for text in token.split(".")]
    where = position % sum(map(len, raw))
    for index, content in enumerate(raw):
        if where < len(content):
            raw[index] = content[:where] + bytes([content[where] ^ change]) + content[where + 1 :]
            break
        where -= len(content)
    with pytest.raises(Unauthenticated):
        TOKENS.verify(".".join(encoded(content) for content in raw))


TOKENS = make()


@given(
    st.text(max_size=200) | st.lists(st.binary(max_size=40), min_size=3, max_size=3).map(lambda raw: ".".join(map(encoded, raw)))
)
def test_nonsense_is_refused_without_another_error(text: str) -> None:
    with pytest.raises(Unauthenticated):
        TOKENS.verify(text)


def test_a_header_of_thousands_of_levels_is_refused() -> None:
    with pytest.raises(Unauthenticated):
        TOKENS.verify(f"{encoded(b'[' * 3000)}.{encoded(b'{}')}.{encoded(b'x')}")
    with pytest.raises(Unauthenticated):
        TOKENS.verify("a" * 100_000)


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [{"kty": "OKP"}],
        ["nonsense"],
        [OctKey.generate_key(256).as_dict(private=True)],
        [OKPKey.generate_key("Ed448").as_dict(private=True)],
        [OKPKey.generate_key("Ed25519").as_dict(private=False)],
        [generate_signing_key(), OKPKey.generate_key("X25519").as_dict(private=True)],
    ],
)
def test_key_sets_that_cannot_sign_are_refused(keys: list[Any]) -> None:
    with pytest.raises(DependencyUnavailable):
        make({"keys": keys})


def test_a_damaged_key_file_is_named_and_not_quoted(tmp_path: Path) -> None:
    path = tmp_path / "signing.jwks"
    path.write_text('{"keys": [{"d": "secret-part"')
    with pytest.raises(DependencyUnavailable) as caught:
        JoseTokens.from_file(path, issuer=ISSUER, audience="somagent", lifetime_seconds=900)
    assert str(path) in str(caught.value)
    assert "secret-part" not in str(caught.value)
    path.write_text(json.dumps({"keys": [generate_signing_key()]}))
    tokens = JoseTokens.from_file(path, issuer=ISSUER, audience="somagent", lifetime_seconds=900)
    assert tokens.verify(mint(tokens)).tenant_id == "demo"
