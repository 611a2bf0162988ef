"""Tenants over HTTP, with workers on real servers: the platform makes, bounds and ends them; for others they are not there."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from live import Caller, Live, until
from nothing_written import assert_problem, rows

from adapters.postgres.connection import tenant_transaction
from adapters.postgres.identity import NewClient, ensure_tenant
from domain.names import SYSTEM_TENANT, Feature, Scope

WITHIN_SECONDS = 1.0


def new_id() -> str:
    return f"t-{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def platform(product: Live) -> AsyncIterator[Caller]:
    """A client of the platform's own tenant."""
    await ensure_tenant(product.pool, SYSTEM_TENANT, "SomaGent")
    async with product.caller(tenant=SYSTEM_TENANT) as caller:
        yield caller


async def made(platform: Caller, **body: Any) -> dict[str, Any]:
    answer = await platform.post("/v1/tenants", {"tenant_id": new_id(), "name": "Acme Ltd"} | body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def token(product: Live, shown: dict[str, Any]) -> httpx2.Response:
    """What the token endpoint answers to the first client's credentials."""
    async with httpx2.AsyncClient(base_url=product.url, trust_env=False) as http:
        credentials = (shown["client_id"], shown["client_secret"])
        return await http.post("/v1/oauth/token", data={"grant_type": "client_credentials"}, auth=credentials)


@asynccontextmanager
async def admin(product: Live, shown: dict[str, Any]) -> AsyncIterator[Caller]:
    """The tenant's first client, with a token of its own."""
    given = (await token(product, shown)).json()
    client = NewClient(
        client_id=shown["client_id"],
        tenant_id=shown["tenant"]["tenant_id"],
        secret=shown["client_secret"],
        scopes=tuple(given["scope"].split()),
    )
    async with httpx2.AsyncClient(base_url=product.url, timeout=70, trust_env=False) as http:
        yield Caller(http, client, given["access_token"])


async def kept(product: Live, tenant: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, int]]:
    """Its row, its clients, and how many rows else."""
    async with tenant_transaction(product.pool, tenant) as connection:
        own = await connection.fetch("SELECT * FROM tenants WHERE tenant_id = $1", tenant)
        clients = await connection.fetch("SELECT * FROM clients ORDER BY client_id")
    return [dict(row) for row in own], [dict(row) for row in clients], await rows(product, tenant)


async def test_a_tenant_is_made_with_its_admin_and_starts_at_once(product: Live, platform: Caller) -> None:
    body = {"tenant_id": new_id(), "name": "Acme Ltd", "plan": "trial", "limits": {"requests_per_minute": 500}}
    answer = await platform.post("/v1/tenants", body, key=body["tenant_id"])
    shown, tenant_id = answer.json(), body["tenant_id"]
    assert (answer.status_code, answer.headers["Location"], answer.headers["ETag"]) == (201, f"/v1/tenants/{tenant_id}", '"1"')
    view = shown["tenant"]
    assert (view["name"], view["plan"], view["limits"], view["residency"]) == ("Acme Ltd", "trial", body["limits"], [])
    again = (await platform.post("/v1/tenants", body, key=body["tenant_id"])).json()
    assert (again["tenant"], again["client_id"], again["client_secret"]) == (view, shown["client_id"], None)
    async with admin(product, shown) as caller:
        assert set(caller.client.scopes) == set(Scope)
        assert (await caller.start("What is tea?")).status_code == 201
        # It reads itself, and there is nothing else to it.
        own = await caller.get(f"/v1/tenants/{tenant_id}")
        assert (own.json(), own.headers["ETag"]) == (view, '"1"')
        (event, *_) = (await caller.get("/v1/events?topic=identity.events")).json()["events"]
        assert (event["type"], event["subject"]) == ("somagent.tenant.created.v1", tenant_id)
        assert "Acme" not in json.dumps(event)
    assert (await platform.get(f"/v1/tenants/{tenant_id}")).json() == view


async def test_for_everybody_else_there_are_no_tenants(product: Live, platform: Caller, caller: Caller) -> None:
    other = (await made(platform))["tenant"]["tenant_id"]
    before = (await kept(product, other), await kept(product, caller.tenant))
    wanted = {"tenant_id": new_id(), "name": "Mine"}
    assert_problem(await caller.post("/v1/tenants", wanted), 404, "not-found")
    assert_problem(await caller.get("/v1/tenants"), 404, "not-found")
    for tenant in (other, caller.tenant, SYSTEM_TENANT):
        assert_problem(await caller.patch(f"/v1/tenants/{tenant}", {"name": "Mine"}, if_match="*"), 404, "not-found")
        assert_problem(await caller.delete(f"/v1/tenants/{tenant}"), 404, "not-found")
    for tenant in (other, SYSTEM_TENANT, new_id()):
        assert_problem(await caller.get(f"/v1/tenants/{tenant}"), 404, "not-found")
    assert (await caller.get(f"/v1/tenants/{caller.tenant}")).status_code == 200
    assert (await kept(product, other), await kept(product, caller.tenant)) == before
    assert_problem(await platform.get(f"/v1/tenants/{wanted['tenant_id']}"), 404, "not-found")


async def test_a_deleted_tenant_is_out_within_a_second_with_all_it_has(product: Live, platform: Caller) -> None:
    shown = await made(platform)
    tenant_id = shown["tenant"]["tenant_id"]
    async with admin(product, shown) as caller:
        key = (await caller.post("/v1/api-keys", {"name": "k", "scopes": ["session:read"]})).json()["key"]
        with_key = {"Authorization": f"Bearer {key}"}
        waiting = (await caller.start("How can I make fake passports?")).json()
        assert (await caller.http.get("/v1/sessions", headers=with_key)).status_code == 200
        assert [(await platform.delete(f"/v1/tenants/{tenant_id}")).status_code for _ in range(2)] == [204, 204]
        await asyncio.sleep(WITHIN_SECONDS)
        assert_problem(await caller.get("/v1/sessions"), 401, "unauthenticated")
        assert_problem(await caller.http.get("/v1/sessions", headers=with_key), 401, "unauthenticated")
        assert_problem(await caller.start("What is tea?"), 401, "unauthenticated")
        refused = await token(product, shown)
        assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")

        # What waited for an approver goes on in the name of a tenant that is no more: its next step is refused.
        decision, session = waiting["decision"]["decision_id"], waiting["session_id"]
        run = f"{Feature.SESSION}/{tenant_id}/{session}"
        await product.temporal.get_workflow_handle(run).execute_update(
            "resolve",
            {
                "actor": {"tenant_id": tenant_id, "subject": "s", "client_id": shown["client_id"], "scopes": [], "jti": "j"},
                "decision_id": decision,
                "approved": True,
            },
        )

        async def turns() -> list[str]:
            async with tenant_transaction(product.pool, tenant_id) as connection:
                found = await connection.fetch("SELECT status FROM turns WHERE completed_at IS NOT NULL")
            return [row["status"] for row in found]

        assert await until(turns) == ["denied"]
    view = (await platform.get(f"/v1/tenants/{tenant_id}")).json()
    assert view["deleted_at"] is not None
    assert_problem(await platform.patch(f"/v1/tenants/{tenant_id}", {"name": "again"}, if_match="*"), 409, "conflict")
    assert_problem(await platform.post("/v1/tenants", {"tenant_id": tenant_id, "name": "again"}), 409, "conflict")
    found = {
        flag: tenant_id in [each["tenant_id"] for each in (await listed(platform, f"deleted={flag}"))]
        for flag in ("true", "false")
    }
    assert found == {"true": True, "false": False}


async def listed(platform: Caller, query: str = "") -> list[dict[str, Any]]:
    """Every page of the list."""
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        page = (await platform.get(f"/v1/tenants?limit=3{after}&{query}".rstrip("&"))).json()
        found += page["tenants"]
        if page["next"] is None:
            return found
        after = f"&after={page['next']}"


async def test_the_list_pages_by_id(platform: Caller) -> None:
    ids = [(await made(platform))["tenant"]["tenant_id"] for _ in range(4)]
    found = [tenant["tenant_id"] for tenant in await listed(platform)]
    assert found == sorted(set(found))
    assert {*ids, SYSTEM_TENANT} <= set(found)


async def test_requests_are_bounded_for_all_clients_of_a_tenant_together(product: Live, platform: Caller) -> None:
    shown = await made(platform, limits={"requests_per_minute": 4})
    path = f"/v1/tenants/{shown['tenant']['tenant_id']}"
    async with admin(product, shown) as first, product.caller(tenant=first.tenant) as second, product.caller() as stranger:
        statuses = [(await each.get("/v1/sessions")).status_code for each in (first, second) * 3]
        assert statuses == [200, 200, 200, 200, 429, 429]
        refused = await first.get("/v1/sessions")
        assert_problem(refused, 429, "too-many-requests")
        assert refused.headers["RateLimit-Policy"] == '"tenant";q=4;w=60'
        assert int(refused.headers["Retry-After"]) >= 1
        assert (await stranger.get("/v1/sessions")).status_code == 200
        changed = await platform.patch(path, {"limits": {"requests_per_minute": None}}, if_match='"1"')
        assert (changed.status_code, changed.json()["limits"]) == (200, {"requests_per_minute": None})
        await asyncio.sleep(WITHIN_SECONDS)
        assert (await first.get("/v1/sessions")).status_code == 200


async def test_a_tenant_is_served_in_its_residency_alone(product: Live, platform: Caller) -> None:
    shown = await made(platform, residency=["eu-central", "local", "local"])
    assert shown["tenant"]["residency"] == ["eu-central", "local"]
    path = f"/v1/tenants/{shown['tenant']['tenant_id']}"
    async with admin(product, shown) as caller:
        assert (await caller.get("/v1/sessions")).status_code == 200
        assert (await platform.patch(path, {"residency": ["eu-central"]}, if_match="*")).status_code == 200
        await asyncio.sleep(WITHIN_SECONDS)
        before = await kept(product, caller.tenant)
        refused = await caller.start("What is tea?")
        assert_problem(refused, 403, "region-not-allowed")
        assert "eu-central" in refused.json()["detail"]
        assert_problem(await caller.get(path), 403, "region-not-allowed")
        assert await kept(product, caller.tenant) == before
        assert (await platform.patch(path, {"residency": []}, if_match="*")).status_code == 200
        await asyncio.sleep(WITHIN_SECONDS)
        assert (await caller.get("/v1/sessions")).status_code == 200


async def test_of_edits_that_meet_one_wins(platform: Caller) -> None:
    view = (await made(platform))["tenant"]
    path = f"/v1/tenants/{view['tenant_id']}"
    bodies = [{"plan": f"plan-{number}"} for number in range(6)]
    answers = await asyncio.gather(*(platform.patch(path, body, if_match='"1"') for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412, 412, 412]
    (winner,) = [answer for answer in answers if answer.status_code == 200]
    assert (await platform.get(path)).json() == winner.json()
    assert winner.json()["name"] == view["name"]
    assert_problem(await platform.patch(path, bodies[0]), 428, "precondition-required")


async def test_of_tenants_of_one_id_one_is_made(product: Live, platform: Caller) -> None:
    tenant_id = new_id()
    bodies = [{"tenant_id": tenant_id, "name": f"name {number}"} for number in range(5)]
    answers = await asyncio.gather(*(platform.post("/v1/tenants", body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]
    (winner,) = [answer.json() for answer in answers if answer.status_code == 201]
    _, clients, _ = await kept(product, tenant_id)
    assert [client["client_id"] for client in clients] == [winner["client_id"]]
    assert (await token(product, winner)).status_code == 200


async def test_the_platforms_own_tenant_stays(product: Live, platform: Caller) -> None:
    before, _, _ = await kept(product, SYSTEM_TENANT)
    for body in ({"name": "Mine"}, {"limits": {"requests_per_minute": 1}}, {"residency": ["nowhere"]}):
        assert_problem(await platform.patch(f"/v1/tenants/{SYSTEM_TENANT}", body, if_match="*"), 409, "conflict")
    assert_problem(await platform.delete(f"/v1/tenants/{SYSTEM_TENANT}"), 409, "conflict")
    assert_problem(await platform.post("/v1/tenants", {"tenant_id": SYSTEM_TENANT, "name": "Mine"}), 409, "conflict")
    after, _, _ = await kept(product, SYSTEM_TENANT)
    assert after == before


@pytest.mark.parametrize(
    "body",
    [
        {"tenant_id": "Acme"},
        {"tenant_id": ""},
        {"tenant_id": "-acme"},
        {"tenant_id": "a" * 49},
        {"tenant_id": "\u0430cme"},
        {"tenant_id": "a/b"},
        {"tenant_id": "a'; DROP TABLE tenants; --"},
        {"name": ""},
        {"name": "a\nb"},
        {"name": "\u0000"},
        {"plan": "Big Plan"},
        {"limits": {"requests_per_minute": 0}},
        {"limits": {"requests_per_minute": -1}},
        {"limits": {"requests_per_minute": "60"}},
        {"limits": {"requests_per_minute": True}},
        {"limits": {"requests_per_minute": 1e400}},
        {"limits": {"sessions": 5}},
        {"residency": ["EU"]},
        {"residency": "eu"},
        {"residency": ["r"] * 33},
        {"deleted_at": None},
    ],
)
async def test_bad_input_changes_nothing(product: Live, platform: Caller, body: dict[str, Any]) -> None:
    there = await listed(platform)
    before = await rows(product, SYSTEM_TENANT)
    sent = {"tenant_id": new_id(), "name": "Acme"} | body
    headers = platform.headers | {"Idempotency-Key": "bad", "Content-Type": "application/json"}
    answer = await platform.http.post("/v1/tenants", content=json.dumps(sent), headers=headers)
    assert_problem(answer, 400, "invalid-request")
    assert await rows(product, SYSTEM_TENANT) == before
    assert await listed(platform) == there


async def test_it_takes_its_scope_also_by_pattern(product: Live, platform: Caller) -> None:
    mine, other = [(await made(platform))["tenant"]["tenant_id"] for _ in range(2)]
    async with product.caller(f"tenant:read:{mine}", f"tenant:write:{mine}", tenant=SYSTEM_TENANT) as narrow:
        assert (await narrow.get(f"/v1/tenants/{mine}")).status_code == 200
        assert (await narrow.patch(f"/v1/tenants/{mine}", {"name": "New"}, if_match="*")).status_code == 200
        assert_problem(await narrow.get(f"/v1/tenants/{other}"), 403, "insufficient-scope")
        assert_problem(await narrow.delete(f"/v1/tenants/{other}"), 403, "insufficient-scope")
        assert_problem(await narrow.get("/v1/tenants"), 403, "insufficient-scope")
        assert_problem(await narrow.post("/v1/tenants", {"tenant_id": new_id(), "name": "n"}), 403, "insufficient-scope")
    key = (await platform.post("/v1/api-keys", {"name": "k", "scopes": ["tenant:write"]})).json()["key"]
    sent = {"Authorization": f"Bearer {key}", "Idempotency-Key": "k"}
    answer = await platform.http.post("/v1/tenants", json={"tenant_id": new_id(), "name": "n"}, headers=sent)
    assert_problem(answer, 403, "forbidden")
    assert (await platform.get(f"/v1/tenants/{other}")).json()["deleted_at"] is None
    for bad in ("A", "x" * 49):
        assert_problem(await platform.get(f"/v1/tenants/{bad}"), 400, "invalid-request")
        assert_problem(await platform.get(f"/v1/tenants?after={bad}"), 400, "invalid-request")
