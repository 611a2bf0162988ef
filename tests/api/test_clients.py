"""Clients over HTTP, with workers on real servers: what they may do, who may make which, and when they end."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest
from live import Caller, Live, until
from nothing_written import assert_problem, rows

from adapters.postgres.connection import tenant_transaction
from domain.names import Feature, Scope, WorkflowName
from domain.roles import BUILT_IN_ROLES

WITHIN_SECONDS = 1.0
BODY = {"name": "billing", "scopes": ["session:read", "slm:call:summarization"]}


async def made(caller: Caller, **body: Any) -> dict[str, Any]:
    answer = await caller.post("/v1/clients", BODY | body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def token(product: Live, client_id: str, secret: str, scope: str = "") -> httpx2.Response:
    """What the token endpoint answers to these credentials."""
    form = {"grant_type": "client_credentials"} | ({"scope": scope} if scope else {})
    async with httpx2.AsyncClient(base_url=product.url, trust_env=False) as http:
        return await http.post("/v1/oauth/token", data=form, auth=(client_id, secret))


async def bearer(product: Live, client: dict[str, Any]) -> str:
    answer = await token(product, client["client"]["client_id"], client["client_secret"])
    assert answer.status_code == 200, answer.text
    return answer.json()["access_token"]


async def status(product: Live, bearer: str, path: str = "/v1/sessions") -> int:
    async with httpx2.AsyncClient(base_url=product.url, trust_env=False) as http:
        return (await http.get(path, headers={"Authorization": f"Bearer {bearer}"})).status_code


async def kept(product: Live, tenant: str) -> list[dict[str, Any]]:
    async with tenant_transaction(product.pool, tenant) as connection:
        return [dict(row) for row in await connection.fetch("SELECT * FROM clients ORDER BY client_id")]


async def test_a_client_is_made_and_its_secret_shown_once(product: Live, caller: Caller) -> None:
    answer = await caller.post("/v1/clients", BODY, key="once")
    shown = answer.json()
    client, secret = shown["client"], shown["client_secret"]
    assert (answer.status_code, answer.headers["Location"]) == (201, f"/v1/clients/{client['client_id']}")
    assert (client["name"], client["scopes"], client["roles"], client["disabled"]) == ("billing", BODY["scopes"], [], False)
    assert client["capabilities"] == sorted(BODY["scopes"])
    again = (await caller.post("/v1/clients", BODY, key="once")).json()
    assert (again["client"], again["client_secret"]) == (client, None)
    assert "rotate" in again["note"]

    given = await token(product, client["client_id"], secret)
    assert given.json()["scope"] == " ".join(BODY["scopes"])
    assert await status(product, given.json()["access_token"]) == 200
    assert (await token(product, client["client_id"], secret + "x")).status_code == 401

    read = await caller.get(f"/v1/clients/{client['client_id']}")
    assert (read.json(), read.headers["ETag"]) == (client, '"1"')
    listed = (await caller.get("/v1/clients")).json()
    events = (await caller.get("/v1/events?topic=identity.events")).json()
    assert events["events"][0]["type"] == "somagent.client.created.v1"
    for text in (read.text, json.dumps(listed), json.dumps(events), json.dumps(again)):
        assert secret not in text
    rows_of = json.dumps(await kept(product, caller.tenant), default=str)
    assert secret not in rows_of


async def test_neither_secret_nor_name_stands_in_a_history(product: Live, caller: Caller) -> None:
    shown = await made(caller, name="confidential name")
    run = f"{Feature.CLIENT}/{caller.tenant}/{shown['client']['client_id']}"
    history = (await product.temporal.get_workflow_handle(run).fetch_history()).to_json()
    assert WorkflowName.CLIENT_CREATE in history
    decoded = [
        await product.temporal.data_converter.decode(event.workflow_execution_started_event_attributes.input.payloads)
        async for event in product.temporal.get_workflow_handle(run).fetch_history_events()
        if event.HasField("workflow_execution_started_event_attributes")
    ]
    for secret in (shown["client_secret"], "confidential"):
        assert secret not in history
        assert secret not in str(decoded)
    assert shown["client"]["client_id"] in str(decoded)


async def test_roles_open_what_they_hold_and_follow_their_changes(product: Live, caller: Caller) -> None:
    assert (await caller.post("/v1/roles", {"name": "clerk", "capabilities": ["document:read"]})).status_code == 201
    client = await made(caller, scopes=[], roles=["clerk", "viewer", "clerk"])
    assert client["client"]["roles"] == ["clerk", "viewer"]
    viewer = {str(scope) for scope in BUILT_IN_ROLES["viewer"]}
    assert set(client["client"]["capabilities"]) == viewer | {"document:read"}
    only = await made(caller, scopes=[], roles=["clerk"])
    held = await bearer(product, only)
    assert [await status(product, held, path) for path in ("/v1/documents", "/v1/sessions")] == [200, 403]

    answer = await caller.put("/v1/roles/clerk", {"capabilities": ["session:read"]}, if_match="*")
    assert answer.status_code == 200
    await asyncio.sleep(WITHIN_SECONDS)
    # The old token asks for more than is left; a new one is of the role as it is now.
    assert await status(product, held, "/v1/documents") == 401
    fresh = await bearer(product, only)
    assert [await status(product, fresh, path) for path in ("/v1/documents", "/v1/sessions")] == [403, 200]

    assert_problem(await caller.delete("/v1/roles/clerk"), 409, "conflict")
    for each in (client, only):
        path = f"/v1/clients/{each['client']['client_id']}"
        assert (await caller.patch(path, {"roles": ["viewer"]}, if_match='"1"')).status_code == 200
    assert (await caller.delete("/v1/roles/clerk")).status_code == 204


async def test_a_role_is_not_given_while_it_goes(product: Live, caller: Caller) -> None:
    """Whoever comes first: never is there a client with a role that is not there."""
    for number in range(6):
        name = f"passing-{number}"
        assert (await caller.post("/v1/roles", {"name": name, "capabilities": ["document:read"]})).status_code == 201
        given, gone = await asyncio.gather(
            caller.post("/v1/clients", {"name": name, "roles": [name]}), caller.delete(f"/v1/roles/{name}")
        )
        assert (given.status_code, gone.status_code) in {(201, 409), (422, 204)}
    roles = {role["name"] for role in (await caller.get("/v1/roles?built_in=false")).json()["roles"]}
    assert {name for client in await kept(product, caller.tenant) for name in client["roles"]} == roles


async def test_of_edits_that_meet_one_wins(caller: Caller) -> None:
    client = (await made(caller))["client"]
    path = f"/v1/clients/{client['client_id']}"
    bodies = [{"name": f"name {number}"} for number in range(6)]
    answers = await asyncio.gather(*(caller.patch(path, body, if_match='"1"') for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412, 412, 412]
    (winner,) = [answer for answer in answers if answer.status_code == 200]
    read = await caller.get(path)
    assert (read.json(), read.headers["ETag"]) == (winner.json(), '"2"')
    assert read.json()["scopes"] == client["scopes"]
    assert_problem(await caller.patch(path, bodies[0]), 428, "precondition-required")
    assert_problem(await caller.patch(path, bodies[0], if_match="2"), 400, "invalid-request")
    assert (await caller.get(path)).json() == winner.json()


async def test_a_rotated_secret_opens_and_the_former_one_for_its_overlap(product: Live, caller: Caller) -> None:
    client = await made(caller)
    client_id, first = client["client"]["client_id"], client["client_secret"]
    path = f"/v1/clients/{client_id}/secret"
    rotated = await caller.post(path, {"overlap_seconds": 2}, key="rotate")
    second = rotated.json()["client_secret"]
    assert (rotated.status_code, rotated.headers["ETag"]) == (200, '"2"')
    assert rotated.json()["client"]["former_secret_until"] is not None
    assert (await caller.post(path, {"overlap_seconds": 2}, key="rotate")).json()["client_secret"] is None
    assert [(await token(product, client_id, secret)).status_code for secret in (first, second)] == [200, 200]

    async def over() -> bool:
        return (await token(product, client_id, first)).status_code == 401

    await until(over, 6, every=0.25)
    third = (await caller.post(path, {})).json()["client_secret"]
    # Without an overlap the former secret is void at once.
    assert [(await token(product, client_id, secret)).status_code for secret in (first, second, third)] == [401, 401, 200]
    events = (await caller.get("/v1/events?topic=identity.events")).json()["events"]
    assert [event["type"].rsplit(".", 2)[1] for event in events] == ["created", "rotated", "rotated"]


async def test_a_disabled_client_is_out_within_a_second_for_good(product: Live, caller: Caller) -> None:
    client = await made(caller, scopes=["session:read", "key:write"])
    client_id = client["client"]["client_id"]
    path = f"/v1/clients/{client_id}"
    held = await bearer(product, client)
    key_body = {"name": "k", "scopes": ["session:read"]}
    async with httpx2.AsyncClient(base_url=product.url, trust_env=False) as http:
        headers = {"Authorization": f"Bearer {held}", "Idempotency-Key": "k"}
        key = (await http.post("/v1/api-keys", json=key_body, headers=headers)).json()["key"]
    assert (await caller.post(f"{path}/secret", {"overlap_seconds": 600})).status_code == 200
    assert [await status(product, each) for each in (held, key)] == [200, 200]
    assert [(await caller.delete(path)).status_code for _ in range(2)] == [204, 204]
    await asyncio.sleep(WITHIN_SECONDS)
    assert [await status(product, each) for each in (held, key)] == [401, 401]
    assert (await token(product, client_id, client["client_secret"])).status_code == 401
    assert_problem(await caller.patch(path, {"name": "again"}, if_match="*"), 409, "conflict")
    assert_problem(await caller.post(f"{path}/secret", {}), 409, "conflict")
    view = (await caller.get(path)).json()
    assert (view["disabled"], view["former_secret_until"]) == (True, None)
    found = {
        flag: [each["client_id"] for each in (await caller.get(f"/v1/clients?disabled={flag}")).json()["clients"]]
        for flag in ("true", "false")
    }
    assert found == {"true": [client_id], "false": [caller.client.client_id]}


async def test_the_list_pages(caller: Caller) -> None:
    ids = [caller.client.client_id, *[(await made(caller, name=f"n{number}"))["client"]["client_id"] for number in range(4)]]
    found: list[str] = []
    after = ""
    while True:
        page = (await caller.get(f"/v1/clients?limit=2{after}")).json()
        found += [client["client_id"] for client in page["clients"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert found == sorted(ids, reverse=True)


GRANTER = ("client:write", "client:read", "session:read:ses_1*", "document:read")


@pytest.mark.parametrize(
    "wanted",
    [
        {"scopes": ["session:read"]},
        {"scopes": ["session:read:ses_*"]},
        {"scopes": ["document:read", "document:write"]},
        {"roles": ["viewer"]},
        {"roles": ["admin"]},
        {"scopes": ["document:read"], "roles": ["wide"]},
    ],
)
async def test_nobody_gives_what_they_do_not_hold(product: Live, caller: Caller, wanted: dict[str, Any]) -> None:
    assert (await caller.post("/v1/roles", {"name": "wide", "capabilities": ["session:read:ses_*"]})).status_code == 201
    weak = (await made(caller, scopes=["document:read:doc_1"]))["client"]
    async with product.caller(*GRANTER, tenant=caller.tenant) as granter:
        before = (await kept(product, caller.tenant), await rows(product, caller.tenant))
        assert_problem(await granter.post("/v1/clients", {"name": "n"} | wanted), 403, "insufficient-scope")
        answer = await granter.patch(f"/v1/clients/{weak['client_id']}", wanted, if_match="*")
        assert_problem(answer, 403, "insufficient-scope")
        own = await granter.patch(f"/v1/clients/{granter.client.client_id}", wanted, if_match="*")
        assert_problem(own, 403, "insufficient-scope")
        assert (await kept(product, caller.tenant), await rows(product, caller.tenant)) == before
        narrower = {"scopes": ["session:read:ses_12", "document:read:doc_*"]}
        assert (await granter.post("/v1/clients", {"name": "n"} | narrower)).status_code == 201
        assert (await granter.patch(f"/v1/clients/{weak['client_id']}", narrower, if_match="*")).status_code == 200


async def test_nobody_takes_over_a_stronger_client(product: Live, caller: Caller) -> None:
    strong = await made(caller, scopes=["session:read"], roles=["viewer"])
    path = f"/v1/clients/{strong['client']['client_id']}"
    async with product.caller(*GRANTER, tenant=caller.tenant) as granter:
        before = await kept(product, caller.tenant)
        assert_problem(await granter.post(f"{path}/secret", {}), 403, "insufficient-scope")
        for body in ({"scopes": ["document:read"], "roles": []}, {"roles": []}):
            assert_problem(await granter.patch(path, body, if_match="*"), 403, "insufficient-scope")
        assert await kept(product, caller.tenant) == before
        # A name is no authority.
        assert (await granter.patch(path, {"name": "renamed"}, if_match="*")).status_code == 200
    assert (await token(product, strong["client"]["client_id"], strong["client_secret"])).status_code == 200
    # Nor by a token that was narrowed from one that may.
    narrow, _ = product.services.tokens.mint(
        tenant_id=caller.tenant,
        subject=caller.client.client_id,
        client_id=caller.client.client_id,
        scopes=(f"client:write:{caller.client.client_id}",),
        constitution_hash=None,
    )
    async with httpx2.AsyncClient(base_url=product.url, trust_env=False) as http:
        headers = {"Authorization": f"Bearer {narrow}", "Idempotency-Key": "n"}
        answer = await http.post(f"/v1/clients/{caller.client.client_id}/secret", json={}, headers=headers)
        assert_problem(answer, 403, "insufficient-scope")


async def test_what_ends_makes_no_credentials(product: Live, caller: Caller) -> None:
    key_body = {"name": "k", "scopes": ["client:write", "session:read"]}
    key = (await caller.post("/v1/api-keys", key_body)).json()["key"]
    before = await kept(product, caller.tenant)
    async with httpx2.AsyncClient(base_url=product.url, trust_env=False) as http:
        headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "n"}
        body = {"name": "n", "scopes": ["session:read"]}
        assert_problem(await http.post("/v1/clients", json=body, headers=headers), 403, "forbidden")
        path = f"/v1/clients/{caller.client.client_id}/secret"
        assert_problem(await http.post(path, json={}, headers=headers), 403, "forbidden")
    assert await kept(product, caller.tenant) == before


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({}, 400),
        ({"name": "a"}, 400),
        ({"name": "a", "scopes": [], "roles": []}, 400),
        ({"name": "a\nb", "roles": ["viewer"]}, 400),
        ({"name": "", "roles": ["viewer"]}, 400),
        ({"name": "a", "scopes": ["everything"]}, 400),
        ({"name": "a", "scopes": ["session:read"] * 101}, 400),
        ({"name": "a", "roles": ["Viewer"]}, 400),
        ({"name": "a", "roles": ["viewer'); --"]}, 400),
        ({"name": "a", "roles": ["v"] * 21}, 400),
        ({"name": "a", "roles": ["nobody"]}, 422),
        ({"name": "a", "roles": ["viewer"], "client_id": "cli_mine"}, 400),
        ({"name": "a", "roles": ["viewer"], "client_secret": "mine"}, 400),
    ],
)
async def test_bad_input_changes_nothing(product: Live, caller: Caller, body: dict[str, Any], answer: int) -> None:
    before = (await kept(product, caller.tenant), await rows(product, caller.tenant))
    kind = {400: "invalid-request", 422: "unprocessable"}[answer]
    assert_problem(await caller.post("/v1/clients", body), answer, kind)
    path = f"/v1/clients/{caller.client.client_id}"
    for patch in ({}, {"name": None}, {"scopes": ["x"]}, {"disabled": False}):
        assert_problem(await caller.patch(path, patch, if_match="*"), 400, "invalid-request")
    for rotation in ({"overlap_seconds": -1}, {"overlap_seconds": "9"}, {"overlap_seconds": True}, {"overlap_seconds": 10**9}):
        assert_problem(await caller.post(f"{path}/secret", rotation), 400, "invalid-request")
    assert (await kept(product, caller.tenant), await rows(product, caller.tenant)) == before


async def test_it_takes_its_scope_and_another_tenants_is_unknown(product: Live, caller: Caller) -> None:
    client_id = (await made(caller))["client"]["client_id"]
    path = f"/v1/clients/{client_id}"
    async with product.caller() as stranger:
        assert_problem(await stranger.get(path), 404, "not-found")
        assert_problem(await stranger.patch(path, {"name": "mine"}, if_match="*"), 404, "not-found")
        assert_problem(await stranger.post(f"{path}/secret", {}), 404, "not-found")
        assert_problem(await stranger.delete(path), 404, "not-found")
        (only,) = (await stranger.get("/v1/clients")).json()["clients"]
        assert only["client_id"] == stranger.client.client_id
    async with product.caller(Scope.CLIENT_READ, tenant=caller.tenant) as reader:
        assert_problem(await reader.delete(path), 403, "insufficient-scope")
        assert_problem(await reader.post("/v1/clients", BODY), 403, "insufficient-scope")
        assert (await reader.get(path)).status_code == 200
    for bad in ("x" * 65, "a%20b"):
        assert_problem(await caller.get(f"/v1/clients/{bad}"), 400, "invalid-request")
        assert_problem(await caller.get(f"/v1/clients?after={bad}"), 400, "invalid-request")
    assert (await caller.get(path)).json()["disabled"] is False
