"""Roles over HTTP, with workers on real servers: what they open, who may make which, and edits that meet."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from live import Caller, Live
from nothing_written import assert_problem, rows

from adapters.postgres.connection import tenant_transaction
from domain.names import Scope
from domain.roles import BUILT_IN_ROLES

CLERK = {"name": "clerk", "capabilities": ["document:read", "session:read:ses_1*"]}


async def made(caller: Caller, **body: Any) -> dict[str, Any]:
    answer = await caller.post("/v1/roles", CLERK | body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def kept(product: Live, tenant: str) -> list[tuple[str, list[str], int]]:
    """The tenant's own roles."""
    async with tenant_transaction(product.pool, tenant) as connection:
        found = await connection.fetch("SELECT name, capabilities, version FROM roles ORDER BY name")
    return [(row["name"], row["capabilities"], row["version"]) for row in found]


async def test_a_role_is_made_read_replaced_and_deleted(product: Live, caller: Caller) -> None:
    answer = await caller.post("/v1/roles", CLERK, key="once")
    role = answer.json()
    assert (answer.status_code, answer.headers["Location"], answer.headers["ETag"]) == (201, "/v1/roles/clerk", '"1"')
    assert (role["name"], role["built_in"], role["created_by"]) == ("clerk", False, caller.client.client_id)
    again = await caller.post("/v1/roles", CLERK, key="once")
    assert (again.status_code, again.json()) == (201, role)
    read = await caller.get("/v1/roles/clerk")
    assert (read.json(), read.headers["ETag"]) == (role, '"1"')

    new = {"capabilities": ["document:read"]}
    replaced = await caller.put("/v1/roles/clerk", new, if_match='"1"')
    assert (replaced.status_code, replaced.headers["ETag"], replaced.json()["capabilities"]) == (200, '"2"', ["document:read"])
    assert (await caller.delete("/v1/roles/clerk")).status_code == 204
    assert_problem(await caller.get("/v1/roles/clerk"), 404, "not-found")
    assert_problem(await caller.delete("/v1/roles/clerk"), 404, "not-found")
    assert await kept(product, caller.tenant) == []

    # A deleted name is free again, and can be deleted again.
    assert (await made(caller))["role_id"] != role["role_id"]
    assert (await caller.delete("/v1/roles/clerk")).status_code == 204
    events = (await caller.get("/v1/events?topic=identity.events")).json()["events"]
    assert [event["type"].split(".", 1)[1] for event in events] == [
        *("role.created.v1", "role.replaced.v1", "role.deleted.v1"),
        *("role.created.v1", "role.deleted.v1"),
    ]
    assert events[1]["data"] == {
        "role_id": role["role_id"],
        "name": "clerk",
        "subject": caller.client.client_id,
        "capabilities": ["document:read"],
        "version": 2,
    }


async def test_the_list_has_built_in_and_own_roles_and_pages(caller: Caller) -> None:
    for name in ("aide", "clerk", "zoo"):
        await made(caller, name=name)
    everything = sorted([*BUILT_IN_ROLES, "aide", "clerk", "zoo"])
    names: list[str] = []
    after = ""
    while True:
        page = (await caller.get(f"/v1/roles?limit=2{after}")).json()
        names += [role["name"] for role in page["roles"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert names == everything
    own = (await caller.get("/v1/roles?built_in=false")).json()["roles"]
    assert [role["name"] for role in own] == ["aide", "clerk", "zoo"]
    built_in = {role["name"]: role["capabilities"] for role in (await caller.get("/v1/roles?built_in=true")).json()["roles"]}
    assert built_in == {name: sorted(scopes) for name, scopes in BUILT_IN_ROLES.items()}


async def test_of_edits_that_meet_one_wins(product: Live, caller: Caller) -> None:
    await made(caller)
    bodies = [{"capabilities": [f"document:read:doc_{number}"]} for number in range(6)]
    answers = await asyncio.gather(*(caller.put("/v1/roles/clerk", body, if_match='"1"') for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412, 412, 412]
    (winner,) = [answer for answer in answers if answer.status_code == 200]
    assert await kept(product, caller.tenant) == [("clerk", winner.json()["capabilities"], 2)]
    for stale in ('"1"', 'W/"2"', '"7"', '"two"', '"1", "3"'):
        assert_problem(await caller.put("/v1/roles/clerk", bodies[0], if_match=stale), 412, "precondition-failed")
    assert_problem(await caller.put("/v1/roles/clerk", bodies[0]), 428, "precondition-required")
    for malformed in ("2", '"2', "", '"2",', '"2" "3"'):
        assert_problem(await caller.put("/v1/roles/clerk", bodies[0], if_match=malformed), 400, "invalid-request")
    assert await kept(product, caller.tenant) == [("clerk", winner.json()["capabilities"], 2)]
    for any_of, version in (("*", 3), ('"9", "3"', 4)):
        assert (await caller.put("/v1/roles/clerk", bodies[0], if_match=any_of)).headers["ETag"] == f'"{version}"'
    # The same request again is answered as the first time, whatever became of the role since.
    first = await caller.put("/v1/roles/clerk", bodies[1], if_match='"4"', key="edit")
    again = await caller.put("/v1/roles/clerk", bodies[1], if_match='"4"', key="edit")
    assert (first.status_code, again.status_code, again.json()) == (200, 200, first.json())


@pytest.mark.parametrize(
    "wanted",
    [["session:read"], ["document:read"], ["document:read:doc_*"], ["document:read:doc_12", "role:read"], ["slm:call:x"]],
)
async def test_nobody_makes_a_role_beyond_themselves(product: Live, caller: Caller, wanted: list[str]) -> None:
    await made(caller, capabilities=["document:read:doc_1"])
    async with product.caller("role:write", "document:read:doc_1*", "role:read:clerk", tenant=caller.tenant) as author:
        before = (await kept(product, caller.tenant), await rows(product, caller.tenant))
        assert_problem(await author.post("/v1/roles", {"name": "other", "capabilities": wanted}), 403, "insufficient-scope")
        answer = await author.put("/v1/roles/clerk", {"capabilities": wanted}, if_match="*")
        assert_problem(answer, 403, "insufficient-scope")
        assert answer.json()["scope"] in wanted
        assert (await kept(product, caller.tenant), await rows(product, caller.tenant)) == before
        narrow = {"name": "narrow", "capabilities": ["document:read:doc_12", "document:read:doc_1*"]}
        assert (await author.post("/v1/roles", narrow)).status_code == 201


async def test_built_in_roles_stay_and_look_alikes_are_taken(product: Live, caller: Caller) -> None:
    await made(caller)
    for name in ("clerk", "c1erk", "cierk", "admin", "adm1n", "adrnin", "viewer", "v1ewer", "vievver"):
        assert_problem(await caller.post("/v1/roles", CLERK | {"name": name}), 409, "conflict")
    for name in BUILT_IN_ROLES:
        body = {"capabilities": ["document:read"]}
        assert_problem(await caller.put(f"/v1/roles/{name}", body, if_match="*"), 409, "conflict")
        assert_problem(await caller.delete(f"/v1/roles/{name}"), 409, "conflict")
    assert [name for name, _, _ in await kept(product, caller.tenant)] == ["clerk"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "a"},
        {"name": "a", "capabilities": []},
        {"name": "a", "capabilities": ["everything"]},
        {"name": "a", "capabilities": ["session:read:"]},
        {"name": "a", "capabilities": ["session:read:a b"]},
        {"name": "a", "capabilities": [7]},
        {"name": "a", "capabilities": "session:read"},
        {"name": "a", "capabilities": ["session:read"] * 101},
        {"name": "A", "capabilities": ["session:read"]},
        {"name": "", "capabilities": ["session:read"]},
        {"name": "\u0430dmin", "capabilities": ["session:read"]},
        {"name": "a'; DROP TABLE roles; --", "capabilities": ["session:read"]},
        {"name": "a" * 49, "capabilities": ["session:read"]},
        {"name": "a\n", "capabilities": ["session:read"]},
        {"name": "a", "capabilities": ["session:read"], "built_in": True},
    ],
)
async def test_bad_input_changes_nothing(product: Live, caller: Caller, body: dict[str, Any]) -> None:
    before = await rows(product, caller.tenant)
    assert_problem(await caller.post("/v1/roles", body), 400, "invalid-request")
    assert await kept(product, caller.tenant) == []
    assert await rows(product, caller.tenant) == before


async def test_it_takes_its_scope_and_another_tenants_is_unknown(product: Live, caller: Caller) -> None:
    await made(caller)
    async with product.caller() as stranger:
        assert_problem(await stranger.get("/v1/roles/clerk"), 404, "not-found")
        assert_problem(await stranger.put("/v1/roles/clerk", {"capabilities": ["session:read"]}, if_match="*"), 404, "not-found")
        assert_problem(await stranger.delete("/v1/roles/clerk"), 404, "not-found")
        assert (await stranger.get("/v1/roles?built_in=false")).json()["roles"] == []
    async with product.caller(Scope.ROLE_READ, tenant=caller.tenant) as reader:
        assert_problem(await reader.post("/v1/roles", CLERK), 403, "insufficient-scope")
        assert_problem(await reader.delete("/v1/roles/clerk"), 403, "insufficient-scope")
    async with product.caller("role:write:clerk", "document:read", tenant=caller.tenant) as clerk:
        assert_problem(await clerk.get("/v1/roles"), 403, "insufficient-scope")
        assert_problem(await clerk.post("/v1/roles", CLERK | {"name": "b"}), 403, "insufficient-scope")
        answer = await clerk.put("/v1/roles/clerk", {"capabilities": ["document:read"]}, if_match="*")
        assert answer.status_code == 200
    assert len(await kept(product, caller.tenant)) == 1
    for path in ("%00", "a%2Fb", "A", "%F0%9F%92%A9", "x" * 60):
        assert (await caller.get(f"/v1/roles/{path}")).status_code in (400, 404)
    for cursor in ("%00", "A", "-1"):
        assert_problem(await caller.get(f"/v1/roles?after={cursor}"), 400, "invalid-request")
