"""The token endpoint: credentials for a token, and RFC 6749's errors for everything else."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from gateway_under_test import PUBLIC_URL, Gateway, StartGateway

from adapters.postgres.identity import NewClient, disable_client, replace_secret
from adapters.rate_limit import EdgeRateLimiter
from api.oauth.credentials import FAILURES_BY_ADDRESS
from domain.names import Scope

PATH = "/v1/oauth/token"
GRANT = {"grant_type": "client_credentials"}


def basic(client_id: str, secret: str) -> dict[str, str]:
    pair = f"{quote(client_id)}:{quote(secret)}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def refused(answer: httpx2.Response, status: int, error: str) -> None:
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert set(answer.json()) == {"error", "error_description"}
    assert answer.headers["Cache-Control"] == "no-store"
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)


@pytest.fixture(scope="module")
async def client(gateway: Gateway) -> NewClient:
    return await gateway.client(Scope.SESSION_START, Scope.SESSION_READ)


@pytest.mark.parametrize("by_basic", [True, False])
async def test_credentials_buy_a_token(gateway: Gateway, http: httpx2.AsyncClient, client: NewClient, by_basic: bool) -> None:
    headers = basic(client.client_id, client.secret) if by_basic else {}
    form = GRANT if by_basic else GRANT | {"client_id": client.client_id, "client_secret": client.secret}
    answer = await http.post(PATH, data=form, headers=headers)
    assert answer.status_code == 200
    body = answer.json()
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 900, "session:start session:read")
    assert (answer.headers["Cache-Control"], answer.headers["Pragma"]) == ("no-store", "no-cache")
    actor = gateway.services.tokens.verify(body["access_token"])
    assert (actor.tenant_id, actor.client_id, actor.subject) == (client.tenant_id, client.client_id, client.client_id)
    whoami = await http.get("/test/whoami", headers={"Authorization": f"Bearer {body['access_token']}"})
    assert whoami.json()["jti"] == actor.jti


async def test_a_token_names_the_constitution_where_there_is_one(
    compose_gateway: StartGateway, gateway: Gateway, http: httpx2.AsyncClient, client: NewClient
) -> None:
    headers = basic(client.client_id, client.secret)
    token = (await http.post(PATH, data=GRANT, headers=headers)).json()["access_token"]
    in_force = await gateway.services.constitution.current()
    assert gateway.services.tokens.verify(token).constitution_hash == in_force.hash
    without = await compose_gateway(constitution_url="http://127.0.0.1:9/", redis_url=None)
    async with without.http() as other:
        token = (await other.post(PATH, data=GRANT, headers=headers)).json()["access_token"]
    assert without.services.tokens.verify(token).constitution_hash is None


async def test_fewer_scopes_may_be_asked_for_and_never_more(http: httpx2.AsyncClient, client: NewClient) -> None:
    headers = basic(client.client_id, client.secret)
    answer = await http.post(PATH, data=GRANT | {"scope": "session:read session:read"}, headers=headers)
    assert answer.json()["scope"] == "session:read"
    for scope in ("session:read policy:approve", "nonsense", "session:*"):
        refused(await http.post(PATH, data=GRANT | {"scope": scope}, headers=headers), 400, "invalid_scope")


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "invalid_request"),
        (b"grant_type=", "invalid_request"),
        (b"grant_type=password", "unsupported_grant_type"),
        (b"grant_type=client_credentials&grant_type=client_credentials", "invalid_request"),
        (b"grant_type=client_credentials&scope=%ff", "invalid_request"),
        (b"grant_type", "invalid_request"),
        ("grant_type=é".encode(), "invalid_request"),
        (b"&".join(b"a%d=1" % number for number in range(20)), "invalid_request"),
        (b"grant_type=client_credentials&client_secret=twice", "invalid_request"),
    ],
)
async def test_malformed_forms_are_refused(http: httpx2.AsyncClient, client: NewClient, content: bytes, error: str) -> None:
    headers = basic(client.client_id, client.secret) | {"Content-Type": "application/x-www-form-urlencoded"}
    refused(await http.post(PATH, content=content, headers=headers), 400, error)


async def test_a_json_body_is_no_form(http: httpx2.AsyncClient, client: NewClient) -> None:
    refused(await http.post(PATH, json=GRANT, headers=basic(client.client_id, client.secret)), 400, "invalid_request")


async def test_a_giant_form_is_refused(http: httpx2.AsyncClient) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await http.post(PATH, content=b"a=" + b"x" * 20_000, headers=headers)
    assert answer.status_code == 413


async def test_strangers_and_the_disabled_look_the_same(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(rate_limiter=EdgeRateLimiter(None))
    known = await gateway.client()
    disabled = await gateway.client()
    await disable_client(gateway.pool, disabled.tenant_id, disabled.client_id)
    attempts: list[dict[str, Any]] = [
        {"data": GRANT},
        {"data": GRANT | {"client_id": known.client_id}},
        {"data": GRANT, "headers": basic(known.client_id, "wrong")},
        {"data": GRANT, "headers": basic(known.client_id, "")},
        {"data": GRANT, "headers": basic("cli_nobody", known.secret)},
        {"data": GRANT, "headers": basic("cli\0nobody", "x")},
        {"data": GRANT, "headers": basic("x" * 500, "x")},
        {"data": GRANT, "headers": basic(disabled.client_id, disabled.secret)},
        {"data": GRANT, "headers": {"Authorization": "Basic !!!"}},
        {"data": GRANT, "headers": {"Authorization": "Basic bm9jb2xvbg=="}},
        {"data": GRANT, "headers": {"Authorization": "Bearer abc"}},
    ]
    async with gateway.http() as http:
        answers = [await http.post(PATH, **attempt) for attempt in attempts]
        for answer in answers:
            refused(answer, 401, "invalid_client")
        assert len({answer.json()["error_description"] for answer in answers[2:8]}) == 1


async def test_a_new_secret_voids_the_old_one(gateway: Gateway, http: httpx2.AsyncClient) -> None:
    client = await gateway.client()
    renewed = await replace_secret(gateway.pool, client.tenant_id, client.client_id)
    assert renewed is not None
    assert renewed.secret != client.secret
    refused(await http.post(PATH, data=GRANT, headers=basic(client.client_id, client.secret)), 401, "invalid_client")
    assert (await http.post(PATH, data=GRANT, headers=basic(client.client_id, renewed.secret))).status_code == 200


async def test_guessing_is_stopped(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(rate_limiter=EdgeRateLimiter(None))
    client = await gateway.client()
    async with gateway.http() as http:
        for _ in range(FAILURES_BY_ADDRESS):
            answer = await http.post(PATH, data=GRANT, headers=basic(client.client_id, "guess"))
            assert answer.status_code == 401
        answer = await http.post(PATH, data=GRANT, headers=basic(client.client_id, client.secret))
        assert answer.status_code == 429
        assert answer.json()["type"] == f"{PUBLIC_URL}/problems/too-many-requests"
        assert int(answer.headers["Retry-After"]) >= 1


async def test_metadata_leads_from_the_resource_to_the_keys(gateway: Gateway, http: httpx2.AsyncClient) -> None:
    resource = (await http.get("/.well-known/oauth-protected-resource")).json()
    assert resource["resource"] == PUBLIC_URL
    server = (await http.get("/.well-known/oauth-authorization-server")).json()
    assert [server["issuer"]] == resource["authorization_servers"]
    assert server["token_endpoint"] == f"{PUBLIC_URL}{PATH}"
    assert server["scopes_supported"] == [scope.value for scope in Scope]
    keys = await http.get(server["jwks_uri"].removeprefix(PUBLIC_URL))
    assert keys.json() == gateway.services.tokens.jwks()
    assert "d" not in keys.json()["keys"][0]
