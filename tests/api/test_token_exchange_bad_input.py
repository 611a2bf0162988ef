"""Token exchange over HTTP: what is forged, bound, malformed or meant for others is refused and changes nothing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from delegating import (
    ACCESS,
    ENDPOINT,
    exchange,
    form_of,
    refused,
    token_of,
)
from live import PUBLIC_URL, Caller, Live

from adapters.tokens import JoseTokens, generate_signing_key

Forge = Callable[[Live, Caller], str]


def _keys(product: Live) -> dict[str, Any]:
    assert product.settings.signing_key_file is not None
    return json.loads(product.settings.signing_key_file.read_bytes())


def _minted(product: Live, caller: Caller, keys: dict[str, Any] | None = None, **changes: Any) -> str:
    values: dict[str, Any] = {"issuer": PUBLIC_URL, "audience": "somagent", "lifetime_seconds": 900} | changes
    mine: dict[str, Any] = {"tenant_id": caller.tenant, "subject": caller.client.client_id, "scopes": caller.client.scopes}
    tokens = JoseTokens(keys or _keys(product), **values)
    return tokens.mint(**mine, client_id=caller.client.client_id, constitution_hash=None)[0]


def _encoded(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _unsigned(_: Live, caller: Caller) -> str:
    return f"{_encoded({'alg': 'none', 'typ': 'at+jwt'})}.{token_of(caller).split('.')[1]}."


def _hmac(product: Live, caller: Caller) -> str:
    """Signed with the public key as if it were a shared secret."""
    public = product.services.tokens.jwks()["keys"][0]
    head = f"{_encoded({'alg': 'HS256', 'typ': 'at+jwt', 'kid': public['kid']})}.{token_of(caller).split('.')[1]}"
    secret = base64.urlsafe_b64decode(public["x"] + "==")
    return f"{head}.{_encoded(hmac.new(secret, head.encode(), hashlib.sha256).digest())}"


def _traversing(_: Live, caller: Caller) -> str:
    head = _encoded({"alg": "EdDSA", "typ": "at+jwt", "kid": "../../../../dev/null"})
    return ".".join([head, *token_of(caller).split(".")[1:]])


def _session_bound(product: Live, caller: Caller) -> str:
    values: dict[str, Any] = {
        "subject": caller.client.client_id,
        "client_id": caller.client.client_id,
        "scopes": ("session:read",),
    }
    extra = {"session_id": f"ses_{uuid.uuid4().hex}"}
    return product.services.tokens.mint(tenant_id=caller.tenant, constitution_hash=None, claims=extra, **values)[0]


FORGED: dict[str, Forge] = {
    "nonsense": lambda *_: "nonsense",
    "alg none": _unsigned,
    "HS256 with the public key": _hmac,
    "kid that leaves its directory": _traversing,
    "another key": lambda product, caller: _minted(product, caller, {"keys": [generate_signing_key()]}),
    "another audience": lambda product, caller: _minted(product, caller, audience="elsewhere"),
    "another issuer": lambda product, caller: _minted(product, caller, issuer="https://elsewhere.example"),
    "expired": lambda product, caller: _minted(product, caller, clock=lambda: time.time() - 2000),
    "not valid yet": lambda product, caller: _minted(product, caller, clock=lambda: time.time() + 2000),
    "bound to a session": _session_bound,
    "an API key": lambda *_: "soma_sk_" + "x" * 43,
    "too long": lambda _, caller: f"{token_of(caller)}{'x' * 9000}",
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
async def test_a_token_that_does_not_hold_is_not_delegated(product: Live, caller: Caller, forge: Forge) -> None:
    forged = forge(product, caller)
    answer = await exchange(caller, forged, budget_cap="5")
    refused(answer, "invalid_request")
    assert forged not in answer.text
    assert (await caller.get("/v1/budgets")).json()["budgets"] == []


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"subject_token": ""}, "invalid_request"),
        ({"subject_token_type": ""}, "invalid_request"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:id_token"}, "invalid_request"),
        ({"actor_token": "x"}, "invalid_request"),
        ({"actor_token_type": ACCESS}, "invalid_request"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "invalid_request"),
        ({"resource": "https://elsewhere.example"}, "invalid_target"),
        ({"resource": f"{PUBLIC_URL}#part"}, "invalid_target"),
        ({"resource": f"{PUBLIC_URL}/v1"}, "invalid_target"),
        ({"resource": "gateway.example"}, "invalid_target"),
        ({"resource": "http://[::1"}, "invalid_target"),
        ({"audience": "elsewhere"}, "invalid_target"),
        ({"expires_in": "0"}, "invalid_request"),
        ({"expires_in": "-1"}, "invalid_request"),
        ({"expires_in": "1.5"}, "invalid_request"),
        ({"expires_in": "NaN"}, "invalid_request"),
        ({"expires_in": "٣"}, "invalid_request"),
        ({"expires_in": "9" * 5000}, "invalid_request"),
        ({"budget_cap": "-1"}, "invalid_request"),
        ({"budget_cap": str(2**53)}, "invalid_request"),
        ({"budget_cap": "1e3"}, "invalid_request"),
        ({"budget_cap": "5", "budget_unit": "usd"}, "invalid_request"),
        ({"budget_cap": "5", "budget_unit": "USD\n"}, "invalid_request"),
        ({"budget_unit": "USD"}, "invalid_request"),
        ({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer"}, "unsupported_grant_type"),
    ],
)
async def test_bad_requests_are_refused(caller: Caller, form: dict[str, str], error: str) -> None:
    refused(await exchange(caller, token_of(caller), **form), error)
    assert (await caller.get("/v1/budgets")).json()["budgets"] == []


@pytest.mark.parametrize("name", ["subject_token", "scope", "resource", "expires_in"])
async def test_a_parameter_comes_once(caller: Caller, name: str) -> None:
    pairs = [*form_of(token_of(caller), scope="session:read", resource=PUBLIC_URL, expires_in="60").items(), (name, "x")]
    content = httpx2.QueryParams(pairs).__str__().encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    credentials = (caller.client.client_id, caller.client.secret)
    refused(await caller.http.post(ENDPOINT, content=content, headers=headers, auth=credentials), "invalid_request")


async def test_a_client_says_who_it_is(caller: Caller) -> None:
    for credentials in ((caller.client.client_id, "wrong"), ("cli_nobody", "x")):
        answer = await caller.http.post(ENDPOINT, data=form_of(token_of(caller)), auth=credentials)
        refused(answer, "invalid_client", 401)
