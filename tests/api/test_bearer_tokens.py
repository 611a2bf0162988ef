"""Who may come in: every route but the public ones asks for a token and for its own scope, before it reads anything."""

from __future__ import annotations

import base64
import inspect
import json
from collections.abc import Iterator

import httpx2
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts
from gateway_under_test import PUBLIC_URL, Gateway, StartGateway

from adapters.postgres.identity import disable_client, replace_secret
from adapters.tokens import JoseTokens, generate_signing_key
from api.auth import Require
from api.routing import EdgeRoute
from domain.names import Scope

PUBLIC = {
    "GET /healthz",
    "GET /readyz",
    "GET /asyncapi.json",
    "GET /openapi.json",
    "GET /problems",
    "GET /problems/{problem_type}",
    "POST /v1/oauth/token",
    "POST /v1/oauth/revoke",
    "GET /.well-known/jwks.json",
    "GET /.well-known/oauth-authorization-server",
    "GET /.well-known/oauth-protected-resource",
    "OPTIONS /v1/codec/decode",
    *("GET /v1/oauth/authorize", "POST /v1/oauth/authorize", "GET /v1/activation", "POST /v1/activation"),
}
METADATA = f'resource_metadata="{PUBLIC_URL}/.well-known/oauth-protected-resource"'


def routes_of(gateway: Gateway) -> Iterator[tuple[str, EdgeRoute]]:
    for context in iter_route_contexts(gateway.app.routes):
        route = context.original_route
        assert isinstance(route, EdgeRoute), f"{route} must be made with edge_router()"
        for method in route.methods:
            yield f"{method} {route.path}", route


def test_every_route_but_the_public_ones_needs_a_scope(gateway: Gateway) -> None:
    anonymous = {
        name
        for name, route in routes_of(gateway)
        if not any(isinstance(dependency.call, Require) for dependency in route.dependant.dependencies)
    }
    assert anonymous == PUBLIC


def test_no_route_waits_for_a_thread(gateway: Gateway) -> None:
    """FastAPI calls plain functions in a thread pool, which costs a request more than the rest of the edge."""

    def calls(dependant: Dependant) -> Iterator[object]:
        yield dependant.call
        for dependency in dependant.dependencies:
            yield from calls(dependency)

    for name, route in routes_of(gateway):
        for call in calls(route.dependant):
            assert inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(type(call).__call__), (name, call)


async def test_every_scoped_route_refuses_a_stranger_before_reading(gateway: Gateway, http: httpx2.AsyncClient) -> None:
    names = {name for name, _ in routes_of(gateway)} - PUBLIC
    assert len(names) > 10
    for name in names:
        method, path = name.split()
        answer = await http.request(method, path, content=b"{", headers={"Content-Type": "text/nonsense"})
        assert (name, answer.status_code) == (name, 401)
        assert answer.headers["WWW-Authenticate"] == f'Bearer realm="somagent", {METADATA}'


async def test_a_token_opens_what_its_scope_names(gateway: Gateway, http: httpx2.AsyncClient) -> None:
    client = await gateway.client(Scope.SESSION_READ)
    answer = await http.get("/test/whoami", headers={"Authorization": f"bearer {gateway.token(client)}"})
    assert answer.status_code == 200
    assert (answer.json()["tenant_id"], answer.json()["scopes"]) == (client.tenant_id, ["session:read"])


async def test_a_missing_scope_is_named(gateway: Gateway, http: httpx2.AsyncClient) -> None:
    answer = await http.get("/test/whoami", headers=await gateway.bearer(Scope.SESSION_START))
    assert answer.status_code == 403
    assert answer.json()["type"] == f"{PUBLIC_URL}/problems/insufficient-scope"
    assert answer.json()["scope"] == "session:read"
    assert answer.headers["WWW-Authenticate"] == (
        f'Bearer realm="somagent", error="insufficient_scope", scope="session:read", {METADATA}'
    )


def _unsigned(token: str) -> str:
    head = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "at+jwt"}).encode()).rstrip(b"=").decode()
    return f"{head}.{token.split('.')[1]}."


async def test_tokens_that_do_not_hold_are_refused(gateway: Gateway, http: httpx2.AsyncClient) -> None:
    client = await gateway.client()
    good = gateway.token(client)
    assert gateway.services.settings.signing_key_file is not None
    keys = json.loads(gateway.services.settings.signing_key_file.read_bytes())

    def minted(key_set: dict[str, object] = keys, **changes: object) -> str:
        values: dict[str, object] = {"issuer": PUBLIC_URL, "audience": "somagent", "lifetime_seconds": 900} | changes
        tokens = JoseTokens(key_set, **values)
        return tokens.mint(
            tenant_id=client.tenant_id,
            subject=client.client_id,
            client_id=client.client_id,
            scopes=client.scopes,
            constitution_hash=None,
        )[0]

    head, body, signature = good.split(".")
    for bad in (
        minted(clock=lambda: 1_000_000_000.0),
        minted(clock=lambda: 4_000_000_000.0),
        minted(audience="elsewhere"),
        minted(issuer="https://elsewhere.example"),
        minted({"keys": [generate_signing_key()]}),
        minted({"keys": [generate_signing_key() | {"kid": keys["keys"][0]["kid"]}]}),
        _unsigned(good),
        f"{head}.{body}.{signature[::-1]}",
        f"{head}.{body[:-2]}.{signature}",
        "nonsense",
    ):
        answer = await http.get("/test/whoami", headers={"Authorization": f"Bearer {bad}"})
        assert answer.status_code == 401
        assert answer.json()["type"] == f"{PUBLIC_URL}/problems/unauthenticated"
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
        assert bad not in answer.text
    assert (await http.get("/test/whoami", headers={"Authorization": f"Bearer {good}"})).status_code == 200


@pytest.mark.parametrize("header", ["", "Bearer", "Basic abc", "Token abc"])
async def test_what_is_no_bearer_token_is_told_how_to_come(http: httpx2.AsyncClient, header: str) -> None:
    answer = await http.get("/test/whoami", headers={"Authorization": header})
    assert answer.status_code == 401
    assert "error=" not in answer.headers["WWW-Authenticate"]


async def test_a_disabled_client_is_out_at_once(gateway: Gateway, http: httpx2.AsyncClient) -> None:
    client = await gateway.client()
    headers = {"Authorization": f"Bearer {gateway.token(client)}"}
    assert (await http.get("/test/whoami", headers=headers)).status_code == 200
    assert await disable_client(gateway.pool, client.tenant_id, client.client_id)
    answer = await http.get("/test/whoami", headers=headers)
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


async def test_a_client_that_lost_a_scope_needs_a_new_token(gateway: Gateway, http: httpx2.AsyncClient) -> None:
    client = await gateway.client()
    headers = {"Authorization": f"Bearer {gateway.token(client)}"}
    await replace_secret(gateway.pool, client.tenant_id, client.client_id, (Scope.SESSION_READ,))
    assert (await http.get("/test/whoami", headers=headers)).status_code == 401
    narrow = gateway.token(client, scopes=("session:read",))
    assert (await http.get("/test/whoami", headers={"Authorization": f"Bearer {narrow}"})).status_code == 200


async def test_a_token_for_a_client_of_another_tenant_is_refused(gateway: Gateway, http: httpx2.AsyncClient) -> None:
    mine, theirs = await gateway.client(), await gateway.client()
    token = gateway.token(mine, tenant_id=theirs.tenant_id)
    assert (await http.get("/test/whoami", headers={"Authorization": f"Bearer {token}"})).status_code == 401


async def test_a_capability_token_opens_its_session_alone(gateway: Gateway, http: httpx2.AsyncClient) -> None:
    client, session = await gateway.client(), "ses_" + "1" * 32
    token = gateway.token(client, scopes=("session:read",), claims={"session_id": session})
    headers = {"Authorization": f"Bearer {token}"}
    assert (await http.get(f"/test/sessions/{session}", headers=headers)).status_code == 200
    assert (await http.get(f"/test/sessions/ses_{'2' * 32}", headers=headers)).status_code == 404
    assert (await http.get("/test/whoami", headers=headers)).status_code == 403


async def test_every_answer_shows_what_is_left_of_the_minute(gateway: Gateway, start_gateway: StartGateway) -> None:
    gateway = await start_gateway(settings=gateway.services.settings.model_copy(update={"rate_limit_per_minute": 3}))
    headers = await gateway.bearer()
    async with gateway.http() as http:
        answers = [await http.get("/test/whoami", headers=headers) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert [answer.headers["RateLimit"].split(";")[1] for answer in answers] == ["r=2", "r=1", "r=0", "r=0"]
        assert {answer.headers["RateLimit-Policy"] for answer in answers} == {'"client";q=3;w=60'}
        assert answers[3].json()["type"].endswith("/problems/too-many-requests")
        assert 1 <= int(answers[3].headers["Retry-After"]) <= 60
        assert (await http.get("/test/whoami", headers=await gateway.bearer())).status_code == 200
