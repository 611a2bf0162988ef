"""Users over HTTP, with workers on real servers: made, invited, changed by version, deleted, and nobody above their maker."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest
from live import Caller, Live
from nothing_written import assert_problem

from adapters.postgres.connection import tenant_transaction
from domain.names import Scope

CODE = re.compile(r"soma_inv_[a-z0-9-]+\.[A-Za-z0-9_-]{43}")


async def made(caller: Caller, name: str, *roles: str, **more: Any) -> dict[str, Any]:
    body = {"name": name, "display_name": name.title(), "roles": list(roles or ("member",)), **more}
    answer = await caller.post("/v1/users", body)
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == f"/v1/users/{answer.json()['user']['user_id']}"
    return answer.json()


async def patch(caller: Caller, user_id: str, body: object, if_match: str | None, key: str | None = None) -> httpx2.Response:
    headers = caller.headers | {"Idempotency-Key": key or f"k-{id(body)}-{asyncio.get_running_loop().time()}"}
    if if_match is not None:
        headers["If-Match"] = if_match
    return await caller.http.patch(f"/v1/users/{user_id}", json=body, headers=headers)


async def names(caller: Caller, query: str = "") -> list[str]:
    return [user["name"] for user in (await caller.get(f"/v1/users{query}")).json()["users"]]


async def test_a_user_is_made_with_an_invitation_that_is_shown_once(caller: Caller) -> None:
    body = {"name": "ada", "display_name": "Ada Lovelace", "email": "ada@example.com", "roles": ["member", "member"]}
    first, again = [await caller.post("/v1/users", body, key="once") for _ in range(2)]
    assert (first.status_code, again.status_code) == (201, 201)
    assert CODE.fullmatch(first.json()["invitation"])
    assert first.json()["activation_url"] == "https://gateway.example/v1/activation"
    assert again.json()["invitation"] is None
    assert "make another" in again.json()["note"]
    user = first.json()["user"]
    assert again.json()["user"] == user
    shown = {"name": "ada", "display_name": "Ada Lovelace", "email": "ada@example.com", "roles": ["member"], "status": "invited"}
    assert {name: user[name] for name in shown} == shown
    read = await caller.get(f"/v1/users/{user['user_id']}")
    assert (read.json(), read.headers["ETag"]) == (user, '"1"')
    assert (await caller.post("/v1/users", body | {"name": "bob"}, key="once")).status_code == 422


@pytest.mark.parametrize("other", ["admin", "Admin", "\u0430dmin", "adm1n", "\uff21dmin", "adrnin"])
async def test_a_name_that_looks_like_anothers_is_taken(caller: Caller, other: str) -> None:
    await made(caller, "admin")
    answer = await caller.post("/v1/users", {"name": other, "display_name": "x", "roles": ["viewer"]})
    assert_problem(answer, 409, "conflict")
    assert await names(caller) == ["admin"]
    assert await names(caller, f"?name={other}") == ["admin"]


async def test_of_twenty_with_one_name_one_is_made(caller: Caller) -> None:
    body = {"display_name": "x", "roles": ["viewer"]}
    answers = await asyncio.gather(*(caller.post("/v1/users", body | {"name": "Root" if n % 2 else "root"}) for n in range(20)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 19
    assert len(await names(caller)) == 1


async def test_another_tenant_has_names_of_its_own(product: Live, caller: Caller) -> None:
    user = (await made(caller, "ada"))["user"]
    async with product.caller() as stranger:
        await made(stranger, "ada")
        path = f"/v1/users/{user['user_id']}"
        for answer in (
            await stranger.get(path),
            await stranger.delete(path),
            await stranger.post(f"{path}/invite"),
            await patch(stranger, user["user_id"], {"locked": True}, "*"),
        ):
            assert_problem(answer, 404, "not-found")
    assert (await caller.get(path)).json() == user


async def test_nobody_gives_a_role_that_holds_more_than_they_do(product: Live, caller: Caller) -> None:
    scopes = (Scope.USER_READ, Scope.USER_WRITE, Scope.SESSION_READ)
    async with product.caller(*scopes, tenant=caller.tenant) as lesser:
        refused = await lesser.post("/v1/users", {"name": "eve", "display_name": "Eve", "roles": ["viewer"]})
        assert_problem(refused, 403, "insufficient-scope")
        assert refused.json()["scope"].endswith(":read")
        # Nor acts on somebody who holds more: an invitation to them would be a way to be them.
        admin = (await made(caller, "ada", "admin"))["user"]["user_id"]
        for answer in (
            await lesser.post(f"/v1/users/{admin}/invite"),
            await lesser.delete(f"/v1/users/{admin}"),
            await patch(lesser, admin, {"roles": ["viewer"]}, "*"),
        ):
            assert_problem(answer, 403, "insufficient-scope")
    assert await names(caller) == ["ada"]
    assert (await caller.get(f"/v1/users/{admin}")).json()["version"] == 1


async def test_it_takes_its_scope(product: Live, caller: Caller) -> None:
    user = (await made(caller, "ada"))["user"]["user_id"]
    async with product.caller(Scope.USER_READ, tenant=caller.tenant) as reader:
        assert (await reader.get(f"/v1/users/{user}")).status_code == 200
        assert (await reader.post("/v1/users", {})).status_code == 403
        assert (await reader.delete(f"/v1/users/{user}")).status_code == 403
        assert (await patch(reader, user, {"locked": True}, "*")).status_code == 403
    async with product.caller(Scope.USER_WRITE, tenant=caller.tenant) as writer:
        assert (await writer.get("/v1/users")).status_code == 403


async def test_of_two_edits_of_one_version_one_wins(caller: Caller) -> None:
    user = (await made(caller, "ada"))["user"]["user_id"]
    bodies = [{"display_name": f"Ada {number}"} for number in range(8)]
    answers = await asyncio.gather(*(patch(caller, user, body, '"1"', f"edit-{n}") for n, body in enumerate(bodies)))
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7
    (won,) = [answer for answer in answers if answer.status_code == 200]
    assert won.headers["ETag"] == '"2"'
    now = (await caller.get(f"/v1/users/{user}")).json()
    assert now == won.json()
    # The winner sent again gets its first answer; a loser is still refused.
    number = answers.index(won)
    assert (await patch(caller, user, bodies[number], '"1"', f"edit-{number}")).json() == won.json()
    assert_problem(await patch(caller, user, {"locked": True}, '"1"'), 412, "precondition-failed")
    assert (await caller.get(f"/v1/users/{user}")).json() == now


async def test_a_change_that_a_dead_gateway_made_is_answered_and_not_made_again(product: Live, caller: Caller) -> None:
    """The first attempt made the change and died before it answered; the user has another version by now."""
    user = (await made(caller, "ada"))["user"]["user_id"]
    first = await patch(caller, user, {"locked": True}, '"1"', "once")
    async with tenant_transaction(product.pool, caller.tenant) as connection:
        await connection.execute(
            "UPDATE idempotency_keys SET status = NULL, response = NULL, lease_until = '-infinity' WHERE key = 'once'"
        )
    again = await patch(caller, user, {"locked": True}, '"1"', "once")
    assert (first.status_code, again.status_code, again.json(), again.headers["ETag"]) == (200, 200, first.json(), '"2"')


async def test_a_change_says_of_which_version_it_is(caller: Caller) -> None:
    user = (await made(caller, "ada"))["user"]["user_id"]
    assert_problem(await patch(caller, user, {"locked": True}, None), 428, "precondition-required")
    for bad in ("1", '"1', 'W/"1"x', "1, *"):
        assert_problem(await patch(caller, user, {"locked": True}, bad), 400, "invalid-request")
    # A weak validator never matches (RFC 9110, 13.1.1).
    assert_problem(await patch(caller, user, {"locked": True}, 'W/"1"'), 412, "precondition-failed")
    assert (await patch(caller, user, {"locked": True}, '"7", "1"')).json()["status"] == "locked"
    unlocked = await patch(caller, user, {"locked": False, "email": "a@b.example", "roles": ["viewer"]}, "*")
    assert (unlocked.json()["status"], unlocked.json()["email"], unlocked.json()["roles"]) == (
        "invited",
        "a@b.example",
        ["viewer"],
    )
    without = await patch(caller, user, {"email": None}, "*")
    assert (without.json()["email"], without.json()["display_name"]) == (None, "Ada")


async def test_a_deleted_user_is_gone_and_the_name_is_free(caller: Caller) -> None:
    user = (await made(caller, "ada"))["user"]["user_id"]
    path = f"/v1/users/{user}"
    refused = await caller.http.delete(path, headers=caller.headers | {"If-Match": '"2"'})
    assert_problem(refused, 412, "precondition-failed")
    assert (await caller.delete(path)).status_code == 204
    assert (await caller.delete(path)).status_code == 404
    assert_problem(await caller.post(f"{path}/invite"), 404, "not-found")
    assert_problem(await patch(caller, user, {"locked": False}, "*"), 404, "not-found")
    assert (await caller.get(path)).json()["status"] == "deleted"
    assert await names(caller) == []
    assert await names(caller, "?status=deleted") == ["ada"]
    assert (await made(caller, "ada"))["user"]["user_id"] != user


async def test_a_new_invitation_takes_the_place_of_the_old_one(product: Live, caller: Caller) -> None:
    first = await made(caller, "ada")
    path = f"/v1/users/{first['user']['user_id']}"
    second = await caller.post(f"{path}/invite", {"invitation_seconds": 60})
    assert second.status_code == 200, second.text
    assert second.json()["invitation"] != first["invitation"]
    for code, name in ((first["invitation"], None), (second.json()["invitation"], "ada")):
        found = await product.services.people.activations.invited(caller.tenant, hashlib.sha256(code.encode()).hexdigest())
        assert (found.name if found else None) == name


async def test_the_list_pages_and_filters(caller: Caller) -> None:
    for number in range(3):
        await made(caller, f"user{number + 2}", "viewer" if number else "member")
    page = (await caller.get("/v1/users?limit=2")).json()
    rest = (await caller.get(f"/v1/users?limit=2&after={page['next']}")).json()
    assert [user["name"] for user in page["users"] + rest["users"]] == ["user4", "user3", "user2"]
    assert rest["next"] is None
    assert await names(caller, "?role=member") == ["user2"]
    assert await names(caller, "?status=active") == []
    for bad in ("?status=x", "?role=Ünicode", "?name=a%20b", "?limit=0", "?after=x"):
        assert (await caller.get(f"/v1/users{bad}")).status_code == 400


SQL = "x'; DROP TABLE users; --"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": ""}, "#/name"),
        ({"name": "a b"}, "#/name"),
        ({"name": "x" * 65}, "#/name"),
        ({"name": "a\u0000b"}, "#/name"),
        ({"name": "../../etc"}, "#/name"),
        ({"name": SQL}, "#/name"),
        ({"name": 7}, "#/name"),
        ({"display_name": "a\nb"}, "#/display_name"),
        ({"display_name": "x" * 201}, "#/display_name"),
        ({"email": "nobody"}, "#/email"),
        ({"email": "a@b.c\r\nBcc: x@y.z"}, "#/email"),
        ({"email": "x" * 250 + "@b.example"}, "#/email"),
        ({"email": SQL}, "#/email"),
        ({"roles": []}, "#/roles"),
        ({"roles": "admin"}, "#/roles"),
        ({"roles": [SQL]}, "#/roles/0"),
        ({"roles": ["member"] * 17}, "#/roles"),
        ({"invitation_seconds": 59}, "#/invitation_seconds"),
        ({"invitation_seconds": 10**9}, "#/invitation_seconds"),
        ({"invitation_seconds": "3600"}, "#/invitation_seconds"),
        ({"tenant_id": "other"}, "#/tenant_id"),
        ({"password": "mine"}, "#/password"),
    ],
)
async def test_a_bad_body_is_told_and_makes_nothing(caller: Caller, changed: dict[str, Any], said: str) -> None:
    answer = await caller.post("/v1/users", {"name": "ada", "display_name": "Ada", "roles": ["member"]} | changed)
    assert_problem(answer, 400, "invalid-request")
    assert said in [fault["pointer"] for fault in answer.json()["errors"]]
    assert await names(caller) == []


async def test_an_unknown_role_is_told(caller: Caller) -> None:
    answer = await caller.post("/v1/users", {"name": "ada", "display_name": "Ada", "roles": ["emperor"]})
    assert_problem(answer, 422, "unprocessable")
    assert await names(caller) == []


@pytest.mark.parametrize(
    "body", [{}, {"name": "x"}, {"roles": None}, {"locked": None}, {"display_name": None}, {"locked": "yes"}]
)
async def test_a_bad_change_is_told_and_changes_nothing(caller: Caller, body: dict[str, Any]) -> None:
    user = (await made(caller, "ada"))["user"]
    assert_problem(await patch(caller, user["user_id"], body, "*"), 400, "invalid-request")
    assert (await caller.get(f"/v1/users/{user['user_id']}")).json() == user


async def test_words_that_look_like_sql_are_words(caller: Caller) -> None:
    user = await made(caller, "ada", display_name=SQL)
    assert user["user"]["display_name"] == SQL
    for path in (f"/v1/users/{SQL}", "/v1/users/..%2f..%2fetc", "/v1/users/usr_'--", "/v1/users/%00", "/v1/users/%ff"):
        assert (await caller.get(path)).status_code == 404
    assert await names(caller) == ["ada"]


async def test_events_tell_by_ids_and_histories_hold_no_words(product: Live, caller: Caller, log_file: Path) -> None:
    first = await made(caller, "findme", display_name="Find Me", email="find@me.example")
    user, code = first["user"]["user_id"], first["invitation"]
    changed = await patch(caller, user, {"display_name": "Found You", "roles": ["viewer"]}, "*", "change")
    assert changed.status_code == 200
    await caller.post(f"/v1/users/{user}/invite")
    await caller.delete(f"/v1/users/{user}")
    events = (await caller.get("/v1/events?topic=identity.events")).json()["events"]
    assert [event["type"].split(".", 1)[1] for event in events] == [
        *("user.created.v1", "user.changed.v1", "user.invited.v1", "user.deleted.v1")
    ]
    assert {event["subject"] for event in events} == {user}
    assert events[1]["data"] == {
        "user_id": user,
        "members": ["profile", "roles"],
        "roles": ["viewer"],
        "locked": False,
        "version": 2,
        "subject": caller.client.client_id,
    }
    words = ("findme", "Find Me", "find@me", "Found You", code.partition(".")[2])
    async with tenant_transaction(product.pool, caller.tenant) as connection:
        kept = [str(dict(row.items())) for row in await connection.fetch("TABLE idempotency_keys")]
    assert words[-1] not in "".join(kept)
    seen = json.dumps(events) + await asyncio.to_thread(log_file.read_text)
    codec = product.temporal.data_converter
    runs = [f"user/{caller.tenant}/{user}", f"user-deletion/{caller.tenant}/{user}"]
    runs += [
        listed.id async for listed in product.temporal.list_workflows(f'TenantId = "{caller.tenant}"') if listed.id not in runs
    ]
    assert len(runs) == 4
    for run in runs:
        async for event in product.temporal.get_workflow_handle(run).fetch_history_events():
            started = event.workflow_execution_started_event_attributes.input.payloads
            if started:
                seen += json.dumps(await codec.decode(list(started), [dict]))
    assert hashlib.sha256(code.encode()).hexdigest() in seen
    assert [word for word in words if word in seen] == []
