"""Every route of the application, as its own table lists them, against every way to come in without the right to.

Each refusal is the right one and changes nothing: every table the application sees is compared, row by row.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from fastapi.routing import APIRoute, iter_route_contexts
from live import PUBLIC_URL, Caller, Live, until

from adapters.postgres.connection import tenant_transaction
from adapters.tokens import JoseTokens
from api.app import routed_app
from api.auth import SESSION_PARAMETER, Require
from domain.names import Scope

PUBLIC = {
    "GET /healthz": "probes come without credentials",
    "GET /readyz": "probes come without credentials",
    "GET /asyncapi.json": "the interface is no secret",
    "GET /openapi.json": "the interface is no secret",
    "GET /problems": "where the type of a problem leads",
    "GET /problems/{problem_type}": "where the type of a problem leads",
    "POST /v1/oauth/token": "checks the client's own credentials",
    "POST /v1/oauth/revoke": "checks the client's own credentials",
    "GET /v1/oauth/authorize": "where people log in",
    "POST /v1/oauth/authorize": "where people log in",
    "GET /v1/activation": "checks the invitation",
    "POST /v1/activation": "checks the invitation",
    "GET /.well-known/jwks.json": "public keys",
    "GET /.well-known/oauth-authorization-server": "says how to authenticate",
    "GET /.well-known/oauth-protected-resource": "says how to authenticate",
    "OPTIONS /v1/codec/decode": "a browser asks before it sends the token",
}
PERMITS_ALL = '@id("all") permit(principal, action, resource);'
OF_NO_TENANT = {"GET /v1/models/{model:path}": "the models are the platform's, the same for all"}
"""Routes whose path names what no tenant owns."""

BODIES: dict[str, dict[str, Any]] = {
    "PATCH /v1/budgets/{budget_id}": {"cap": 1},
    "POST /v1/sessions/{session_id}/messages": {"content": "Hello"},
    "PUT /v1/roles/{name}": {"capabilities": ["session:read"]},
    "PATCH /v1/clients/{client_id}": {"name": "mine"},
    "PATCH /v1/tenants/{tenant_id}": {"name": "mine"},
    "PATCH /v1/users/{user_id}": {"locked": True},
    "POST /v1/approvals/{approval_id}/approve": {"digest": "ab" * 32},
    "POST /v1/policy-sets/{policy_set_id}/activate": {"expected_version": 0},
}
"""What passes as a body where `{}` does not, so that the refusal is about the resource."""

TABLES = """
SELECT r.relname FROM pg_class r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attname = 'tenant_id'
WHERE r.relnamespace = 'public'::regnamespace AND r.relkind IN ('r', 'p') AND has_table_privilege(r.oid, 'SELECT')
ORDER BY 1
"""


@dataclass(frozen=True)
class Route:
    """One method of one path; `scope` is what it takes, None for a public one."""

    name: str
    method: str
    path: str
    scope: Scope | None
    parameters: tuple[str, ...]

    def at(self, ids: dict[str, str]) -> str:
        path = self.path.replace(":path}", "}")
        return path.format(**{name: ids[name] for name in self.parameters})


def routes() -> Iterator[Route]:
    for context in iter_route_contexts(routed_app().routes):
        route = context.original_route
        assert isinstance(route, APIRoute)
        guards = [each.call for each in route.dependant.dependencies if isinstance(each.call, Require)]
        for method in route.methods:
            scope = guards[0].scope if guards else None
            names = tuple(parameter.name for parameter in route.dependant.path_params)
            yield Route(f"{method} {route.path}", method, route.path, scope, names)


ROUTES = {route.name: route for route in routes()}
GUARDED = [name for name, route in ROUTES.items() if route.scope is not None]
WITH_ID = [name for name in GUARDED if ROUTES[name].parameters]


@pytest.fixture(scope="module")
async def owner(product: Live) -> AsyncIterator[Caller]:
    async with product.caller() as caller:
        yield caller


@pytest.fixture(scope="module")
async def stranger(product: Live) -> AsyncIterator[Caller]:
    async with product.caller() as caller:
        yield caller


@pytest.fixture(scope="module")
async def ids(owner: Caller) -> dict[str, str]:
    """One of everything a path may name, all of them of the owner's tenant."""

    async def made(path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await owner.post(path, body)
        assert answer.is_success, answer.text
        return answer.json()

    session = await made("/v1/sessions/start", {"prompt": "What is tea?"})
    return {
        "session_id": session["session_id"],
        "turn_id": session["turn_id"],
        "decision_id": session["decision"]["decision_id"],
        "document_id": await owner.document("Tea is a plant."),
        "request_id": (await made("/v1/slm/complete", {"prompt": "What is tea?"}))["request_id"],
        "budget_id": (await made("/v1/budgets", {"scope": "tenant", "cap": 10**9}))["budget_id"],
        "key_id": (await made("/v1/api-keys", {"name": "k", "scopes": ["session:read"]}))["api_key"]["key_id"],
        "revocation_id": (await made("/v1/revocations", {"kind": "jti", "value": "x"}))["revocation_id"],
        "name": (await made("/v1/roles", {"name": "clerk", "capabilities": ["session:read"]}))["name"],
        "client_id": (await made("/v1/clients", {"name": "c", "roles": ["viewer"]}))["client"]["client_id"],
        "tenant_id": owner.tenant,
        "model": "soma/soma-extractive",
        "switch_id": await stated_switch(owner),
        "policy_set_id": (await made("/v1/policy-sets", {"name": "p", "text": PERMITS_ALL}))["policy_set_id"],
        "user_id": (await made("/v1/users", {"name": "ada", "display_name": "Ada", "roles": ["viewer"]}))["user"]["user_id"],
        "approval_id": (await made("/v1/approvals", {"action": "policy.override", "resource": "p", "digest": "ab" * 32}))[
            "approval_id"
        ],
        "replay_id": (await made("/v1/policy/replays", {}))["replay_id"],
    }


async def stated_switch(owner: Caller) -> str:
    """A kill switch that has its statement; it stops a tool that nobody has."""
    body = {"scope": "tool", "value": "nobody-has-it", "reason": "matrix"}
    path = f"/v1/kill-switches/{(await owner.post('/v1/kill-switches', body)).json()['switch_id']}"

    async def stated() -> bool:
        return (await owner.get(path)).json()["stated_at"] is not None

    await until(stated, 60)
    return path.rpartition("/")[2]


@pytest.fixture(scope="module")
async def bad_tokens(product: Live, owner: Caller) -> dict[str, str]:
    """Authorization headers that open nothing, all of a client that may do everything."""
    assert product.settings.signing_key_file is not None
    keys = json.loads(product.settings.signing_key_file.read_bytes())
    ours: dict[str, Any] = {"issuer": PUBLIC_URL, "audience": "somagent", "lifetime_seconds": 900}
    claims: dict[str, Any] = {
        "tenant_id": owner.tenant,
        "subject": owner.client.client_id,
        "client_id": owner.client.client_id,
        "scopes": owner.client.scopes,
        "constitution_hash": None,
    }
    tokens = {
        "garbage": "nonsense.of.somebody",
        "no-key": f"soma_sk_{'A' * 43}",
        "expired": JoseTokens(keys, **ours, clock=lambda: 1_000_000_000.0).mint(**claims)[0],
        "another-audience": JoseTokens(keys, **(ours | {"audience": "elsewhere"})).mint(**claims)[0],
        "another-issuer": JoseTokens(keys, **(ours | {"issuer": "https://elsewhere.example"})).mint(**claims)[0],
        "revoked": JoseTokens(keys, **ours).mint(**claims)[0],
        "another-tenants-client": JoseTokens(keys, **ours).mint(**(claims | {"tenant_id": "t-elsewhere"}))[0],
        "more-than-the-client": JoseTokens(keys, **ours).mint(**(claims | {"scopes": (*owner.client.scopes, "all:all")}))[0],
    }
    jti = product.services.tokens.verify(tokens["revoked"]).jti
    assert (await owner.post("/v1/revocations", {"kind": "jti", "value": jti})).status_code == 201
    ended = JoseTokens(keys, **ours)
    async with product.caller(tenant=owner.tenant) as leaving:
        tokens["disabled"] = ended.mint(**(claims | {"client_id": leaving.client.client_id}))[0]
        assert (await owner.delete(f"/v1/clients/{leaving.client.client_id}")).status_code == 204
    await asyncio.sleep(1)  # what a gateway may remember
    return {name: f"Bearer {token}" for name, token in tokens.items()}


async def everything(product: Live, *tenants: str) -> dict[str, Any]:
    """A digest of every row that the application sees of these tenants."""
    found: dict[str, Any] = {}
    for tenant in tenants:
        async with tenant_transaction(product.pool, tenant) as connection:
            for row in await connection.fetch(TABLES):
                table = row["relname"]
                query = " ".join(("SELECT count(*), md5(string_agg(t::text, '' ORDER BY t::text)) FROM", table, "t"))
                found[f"{tenant}.{table}"] = dict(await connection.fetchrow(query) or {})
    assert len(found) > 10 * len(tenants)
    return found


async def send(caller: Caller, route: Route, ids: dict[str, str], authorization: str | None) -> httpx2.Response:
    headers = {"Idempotency-Key": str(uuid.uuid4()), "If-Match": "*"}
    if authorization is not None:
        headers["Authorization"] = authorization
    body = None if route.method in ("GET", "DELETE") else BODIES.get(route.name, {})
    return await caller.http.request(route.method, route.at(ids), headers=headers, json=body)


def test_every_route_but_those_named_takes_a_scope() -> None:
    assert {name for name, route in ROUTES.items() if route.scope is None} == set(PUBLIC)
    assert len(GUARDED) > 50
    assert OF_NO_TENANT.keys() <= ROUTES.keys()


@pytest.mark.parametrize("name", GUARDED)
async def test_without_a_token_that_holds_nobody_comes_in(
    product: Live, owner: Caller, ids: dict[str, str], bad_tokens: dict[str, str], name: str
) -> None:
    before = await everything(product, owner.tenant)
    refused = {"none": (await send(owner, ROUTES[name], ids, None)).status_code}
    for what, authorization in bad_tokens.items():
        answer = await send(owner, ROUTES[name], ids, authorization)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer "), what
        refused[what] = answer.status_code
    assert refused == dict.fromkeys(["none", *bad_tokens], 401)
    assert await everything(product, owner.tenant) == before


@pytest.mark.parametrize("name", GUARDED)
async def test_without_the_routes_own_capability_nobody_comes_in(
    product: Live, owner: Caller, ids: dict[str, str], name: str
) -> None:
    route = ROUTES[name]
    assert route.scope is not None
    every_other = tuple(scope for scope in Scope if scope is not route.scope)
    named = ids[route.parameters[0]] if route.parameters else ""
    narrow = (*every_other, f"{route.scope}:{named}0", f"{route.scope}:0*")
    before = await everything(product, owner.tenant)
    refused: list[int] = []
    for scopes, claims in (
        (every_other, {}),
        (narrow, {}),
        (tuple(Scope), {"session_id": "ses_" + "0" * 32}),
    ):
        token, _ = product.services.tokens.mint(
            tenant_id=owner.tenant,
            subject=owner.client.client_id,
            client_id=owner.client.client_id,
            scopes=scopes,
            constitution_hash=None,
            claims=claims,
        )
        refused.append((await send(owner, route, ids, f"Bearer {token}")).status_code)
    # A narrowed slm:call names a role of models, which stands in the body or in the request: what there is of one is checked.
    of_body = 400 if name in BY_BODY else 403
    bound = 404 if SESSION_PARAMETER in route.parameters else 403
    assert refused == [403, of_body, bound]
    assert await everything(product, owner.tenant) == before


BY_BODY = {
    "POST /v1/slm/requests",
    "POST /v1/slm/complete",
    "POST /v1/slm/embed",
    "POST /v1/chat/completions",
    "POST /v1/responses",
    "POST /v1/embeddings",
}
"""The empty body that is sent here names no role yet; tests/api/test_narrowed_capabilities.py sends whole ones."""


@pytest.mark.parametrize("name", [name for name in WITH_ID if name not in OF_NO_TENANT])
async def test_what_another_tenant_owns_is_unknown(
    product: Live, owner: Caller, stranger: Caller, ids: dict[str, str], name: str
) -> None:
    before = await everything(product, owner.tenant, stranger.tenant)
    answer = await send(stranger, ROUTES[name], ids, stranger.headers["Authorization"])
    assert answer.status_code == 404, answer.text
    assert await everything(product, owner.tenant, stranger.tenant) == before


@pytest.mark.parametrize("name", [name for name in WITH_ID if ROUTES[name].method == "GET"])
async def test_what_is_ones_own_is_read(owner: Caller, ids: dict[str, str], name: str) -> None:
    """So that the refusals above are about who asks, and not about what is asked for."""
    async with asyncio.timeout(20):
        answer = await send(owner, ROUTES[name], ids, owner.headers["Authorization"])
    assert answer.status_code == 200, answer.text
