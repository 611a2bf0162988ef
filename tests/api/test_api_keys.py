"""API keys over HTTP: shown once, kept as a digest, taken wherever a token is, and out within a second of their end."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from live import Caller, Live, until
from opentelemetry import trace

from adapters.postgres.connection import tenant_transaction
from adapters.postgres.identity import PostgresStanding, disable_client, replace_secret
from api.app import create_app
from domain.actors import Actor
from domain.api_keys import digest
from domain.names import Scope
from runtime.admin import serve
from workers.composition import compose_gateway

KEY = re.compile(r"soma_sk_[A-Za-z0-9_-]{43}")
REFUSED = "This API key does not hold: unknown, expired or revoked; make a new one with POST /v1/api-keys."


async def made(caller: Caller, *scopes: Scope, **body: Any) -> dict[str, Any]:
    """A key as its making answered."""
    sent = {"name": "ci", "scopes": [scope.value for scope in scopes or (Scope.SESSION_READ,)]} | body
    answer = await caller.post("/v1/api-keys", sent)
    assert answer.status_code == 201, answer.text
    return answer.json()


def bearing(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def what_is_remembered_is_forgotten() -> None:
    """The second for which the gateway may remember what a key stands for."""
    await asyncio.sleep(1)


async def with_key(caller: Caller, key: str, path: str = "/v1/sessions") -> httpx2.Response:
    return await caller.http.get(path, headers=bearing(key))


@asynccontextmanager
async def live_again(product: Live) -> AsyncIterator[httpx2.AsyncClient]:
    """A second gateway, which remembers nothing of what the first one did."""
    async with (
        compose_gateway(product.settings, trace.NoOpTracer()) as services,
        serve(create_app(services), "127.0.0.1", 0, drain_seconds=1) as port,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http,
    ):
        yield http


def assert_refused(answer: httpx2.Response) -> None:
    """The one answer to every key that does not hold."""
    assert answer.status_code == 401, answer.text
    assert answer.json()["type"].endswith("/problems/unauthenticated")
    assert answer.json()["detail"] == REFUSED
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


async def test_a_key_is_shown_once_and_opens_what_its_scopes_name(caller: Caller) -> None:
    first = await made(caller, Scope.SESSION_READ, Scope.SESSION_READ, name="café pipeline")
    key, view = first["key"], first["api_key"]
    assert KEY.fullmatch(key)
    assert view["hint"] == f"soma_sk_…{key[-4:]}"
    assert (view["name"], view["scopes"], view["status"]) == ("café pipeline", ["session:read"], "active")
    assert (view["client_id"], view["created_by"], view["expires_at"]) == (caller.client.client_id, caller.client.client_id, None)
    assert (await with_key(caller, key)).status_code == 200
    refused = await with_key(caller, key, "/v1/decisions")
    assert (refused.status_code, refused.json()["scope"]) == (403, "policy:read")
    assert 'error="insufficient_scope"' in refused.headers["WWW-Authenticate"]
    for path in ("/v1/api-keys", f"/v1/api-keys/{view['key_id']}"):
        assert key not in (await caller.get(path)).text


async def test_a_key_acts_as_its_client(caller: Caller) -> None:
    first = await made(caller, Scope.SESSION_START, Scope.SESSION_READ)
    answer = await caller.http.post(
        "/v1/sessions/start", json={}, headers=bearing(first["key"]) | {"Idempotency-Key": str(uuid.uuid4())}
    )
    assert answer.status_code == 201, answer.text
    read = (await caller.get(f"/v1/sessions/{answer.json()['session_id']}")).json()["session"]
    assert read["subject"] == caller.client.client_id


async def test_a_replay_shows_no_key_and_makes_none(caller: Caller) -> None:
    once, body = str(uuid.uuid4()), {"name": "ci", "scopes": ["slm:call"]}
    first, again = await caller.post("/v1/api-keys", body, key=once), await caller.post("/v1/api-keys", body, key=once)
    assert (first.status_code, again.status_code, again.headers["Idempotency-Replayed"]) == (201, 201, "true")
    assert first.json()["api_key"] == again.json()["api_key"]
    assert again.json()["key"] is None
    assert "revoke it and make another" in again.json()["note"]
    assert len((await caller.get("/v1/api-keys")).json()["api_keys"]) == 1
    assert (await caller.post("/v1/api-keys", body | {"name": "other"}, key=once)).status_code == 422


async def test_what_a_dead_gateway_made_is_not_shown_as_another_key(product: Live, caller: Caller) -> None:
    """The first attempt recorded a key and died before it answered; the next one has no key to show, and says so."""
    once, body = str(uuid.uuid4()), {"name": "ci", "scopes": ["slm:call"]}
    first = await caller.post("/v1/api-keys", body, key=once)
    async with tenant_transaction(product.pool, caller.tenant) as connection:
        await connection.execute(
            "UPDATE idempotency_keys SET status = NULL, response = NULL, lease_until = '-infinity' WHERE key = $1", once
        )
    again = await caller.post("/v1/api-keys", body, key=once)
    assert (again.status_code, again.json()["key"]) == (201, None)
    assert again.json()["api_key"] == first.json()["api_key"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"scopes": ["slm:call"]}, "#/name"),
        ({"name": "a\nb", "scopes": ["slm:call"]}, "#/name"),
        ({"name": "a", "scopes": []}, "#/scopes"),
        ({"name": "a", "scopes": ["everything"]}, "#/scopes/0"),
        ({"name": "a", "scopes": ["slm:call"], "expires_in_seconds": 0}, "#/expires_in_seconds"),
        ({"name": "a", "scopes": ["slm:call"], "expires_in_seconds": "60"}, "#/expires_in_seconds"),
        ({"name": "a", "scopes": ["slm:call"], "expires_in_seconds": 10**12}, "#/expires_in_seconds"),
        ({"name": "a", "scopes": ["slm:call"], "key": "soma_sk_mine"}, "#/key"),
    ],
)
async def test_a_bad_body_is_told_and_makes_nothing(caller: Caller, body: dict[str, Any], said: str) -> None:
    answer = await caller.post("/v1/api-keys", body)
    assert answer.status_code == 400
    assert said in [fault["pointer"] for fault in answer.json()["errors"]]
    assert (await caller.get("/v1/api-keys")).json()["api_keys"] == []


async def test_a_key_has_no_scope_that_its_maker_lacks(product: Live) -> None:
    async with product.caller(Scope.KEY_WRITE, Scope.SESSION_READ) as caller:
        answer = await caller.post("/v1/api-keys", {"name": "a", "scopes": ["session:read", "policy:approve"]})
        assert (answer.status_code, answer.json()["scope"]) == (403, "policy:approve")
    async with product.caller(Scope.SESSION_READ) as caller:
        assert (await caller.post("/v1/api-keys", {"name": "a", "scopes": ["session:read"]})).status_code == 403
        assert (await caller.get("/v1/api-keys")).status_code == 403
        assert (await caller.post(f"/v1/api-keys/key_{'0' * 32}/revoke")).status_code == 403


async def test_a_key_makes_no_keys(caller: Caller) -> None:
    first = await made(caller, Scope.KEY_WRITE, Scope.KEY_READ)
    headers = bearing(first["key"]) | {"Idempotency-Key": str(uuid.uuid4())}
    answer = await caller.http.post("/v1/api-keys", json={"name": "a", "scopes": ["key:read"]}, headers=headers)
    assert (answer.status_code, answer.json()["type"].rsplit("/", 1)[1]) == (403, "forbidden")
    assert (await with_key(caller, first["key"], "/v1/api-keys")).status_code == 200


async def test_a_revoked_key_is_out_within_a_second(product: Live, caller: Caller) -> None:
    first = await made(caller)
    key, key_id = first["key"], first["api_key"]["key_id"]
    assert (await with_key(caller, key)).status_code == 200
    revoked = await caller.post(f"/v1/api-keys/{key_id}/revoke")
    assert (revoked.status_code, revoked.json()["status"]) == (200, "revoked")
    await what_is_remembered_is_forgotten()
    assert_refused(await with_key(caller, key))
    again = await caller.post(f"/v1/api-keys/{key_id}/revoke")
    assert again.json() == revoked.json()
    standing = PostgresStanding(product.pool, memory_seconds=0)
    values = {"tenant_id": caller.tenant, "subject": "s", "client_id": caller.client.client_id, "scopes": ("session:read",)}
    assert not await standing.stands(Actor(**values, jti=key_id))
    assert not await standing.stands(Actor(**values, jti="j", key_id=key_id))
    assert await standing.stands(Actor(**values, jti="j"))
    assert await standing.stands(Actor(**values, jti=(await made(caller))["api_key"]["key_id"]))
    assert not await standing.stands(Actor(**values, jti="key_" + "0" * 32))


async def test_an_expired_key_is_refused_and_reads_as_expired(caller: Caller) -> None:
    first = await made(caller, expires_in_seconds=1)
    assert first["api_key"]["expires_at"] is not None

    async def refused() -> bool:
        return (await with_key(caller, first["key"])).status_code == 401

    await until(refused, 5)
    assert_refused(await with_key(caller, first["key"]))
    assert (await caller.get(f"/v1/api-keys/{first['api_key']['key_id']}")).json()["status"] == "expired"


@pytest.mark.parametrize("bad", ["soma_sk_" + "A" * 43, "soma_sk_", "soma_sk_" + "A" * 44, "soma_sk_" + "é" * 43, "soma_sk_!"])
async def test_what_is_no_key_is_refused_like_a_revoked_one(caller: Caller, bad: str) -> None:
    answer = await caller.http.get("/v1/sessions", headers={"Authorization": f"Bearer {bad}".encode()})
    assert_refused(answer)
    assert bad not in answer.text


async def test_a_key_ends_with_its_client_and_with_its_scope(product: Live) -> None:
    async with product.caller() as caller:
        first = await made(caller)
        assert await disable_client(product.pool, caller.tenant, caller.client.client_id)
        await what_is_remembered_is_forgotten()
        assert_refused(await with_key(caller, first["key"]))
    async with product.caller() as caller:
        first = await made(caller)
        await replace_secret(product.pool, caller.tenant, caller.client.client_id, (Scope.EVENT_READ,))
        await what_is_remembered_is_forgotten()
        assert_refused(await with_key(caller, first["key"]))


async def test_what_was_started_with_a_key_goes_no_further_once_it_is_revoked(caller: Caller) -> None:
    first = await made(caller, Scope.SESSION_START, Scope.SESSION_READ, Scope.SESSION_SEND)
    started = await caller.http.post(
        "/v1/sessions/start", json={}, headers=bearing(first["key"]) | {"Idempotency-Key": str(uuid.uuid4())}
    )
    session, capability = started.json()["session_id"], started.json()["capability"]["access_token"]
    path = f"/v1/sessions/{session}"
    assert (await with_key(caller, capability, path)).status_code == 200
    await caller.post(f"/v1/api-keys/{first['api_key']['key_id']}/revoke")
    await what_is_remembered_is_forgotten()
    refused = await with_key(caller, capability, path)
    assert refused.status_code == 401
    assert "its API key ended" in refused.json()["detail"]
    assert (await caller.get(path)).status_code == 200


async def test_a_stream_of_a_key_ends_when_it_is_revoked(caller: Caller) -> None:
    first = await made(caller, Scope.EVENT_READ)
    headers = bearing(first["key"]) | {"Accept": "text/event-stream"}
    seen: list[str] = []
    async with caller.http.stream("GET", "/v1/events", headers=headers) as answer:
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            seen.append(line)
            if line == "event: somagent.api_key.created.v1":
                await caller.post(f"/v1/api-keys/{first['api_key']['key_id']}/revoke")
    assert "event: somagent.api_key.revoked.v1" in seen


async def test_keys_of_another_tenant_are_not_found(product: Live, caller: Caller) -> None:
    first = await made(caller)
    async with product.caller() as stranger:
        path = f"/v1/api-keys/{first['api_key']['key_id']}"
        assert (await stranger.get("/v1/api-keys")).json()["api_keys"] == []
        for answer in (await stranger.get(path), await stranger.post(f"{path}/revoke"), await stranger.get("/v1/api-keys/key_x")):
            assert (answer.status_code, answer.json()["detail"]) == (404, "No API key has that id.")
    assert (await with_key(caller, first["key"])).status_code == 200


async def test_keys_are_listed_newest_first_in_pages(caller: Caller) -> None:
    ids = [(await made(caller))["api_key"]["key_id"] for _ in range(3)]
    first = (await caller.get("/v1/api-keys?limit=2")).json()
    rest = (await caller.get(f"/v1/api-keys?limit=2&after={first['next']}")).json()
    assert [key["key_id"] for key in first["api_keys"] + rest["api_keys"]] == ids[::-1]
    assert rest["next"] is None


async def test_the_last_use_is_noted_once_a_minute(product: Live, caller: Caller) -> None:
    first = await made(caller)
    path = f"/v1/api-keys/{first['api_key']['key_id']}"
    assert first["api_key"]["last_used_at"] is None
    await with_key(caller, first["key"])

    async def used() -> str | None:
        return (await caller.get(path)).json()["last_used_at"]

    noted = await until(used)
    for _ in range(5):
        await with_key(caller, first["key"])
    assert await used() == noted
    async with tenant_transaction(product.pool, caller.tenant) as connection:
        await connection.execute("UPDATE api_keys SET last_used_at = now() - interval '2 minutes'")
    async with live_again(product) as other:
        await other.get("/v1/sessions", headers=bearing(first["key"]))

        async def noted_again() -> bool:
            return (await used() or "") > noted

        await until(noted_again)


async def test_the_key_itself_is_kept_nowhere(product: Live, caller: Caller, log_file: Path) -> None:
    first = await made(caller, Scope.SESSION_READ, Scope.POLICY_READ, name="findable")
    key, key_id = first["key"], first["api_key"]["key_id"]
    await with_key(caller, key)
    await with_key(caller, key, "/v1/codec/nothing")
    await caller.post(f"/v1/api-keys/{key_id}/revoke")
    await what_is_remembered_is_forgotten()
    await with_key(caller, key)
    secret = key.removeprefix("soma_sk_")
    assert secret not in await asyncio.to_thread(log_file.read_text)
    async with tenant_transaction(product.pool, caller.tenant) as connection:
        rows = [
            str(dict(row.items()))
            for table in ("api_keys", "outbox", "idempotency_keys", "blobs")
            for row in await connection.fetch(f"TABLE {table}")
        ]
    assert digest(key) in "".join(rows)
    assert secret not in "".join(rows)
    codec = product.temporal.data_converter
    seen: list[str] = []
    for run in (f"api-key/{caller.tenant}/{key_id}", f"api-key-revocation/{caller.tenant}/{key_id}"):
        async for event in product.temporal.get_workflow_handle(run).fetch_history_events():
            attributes = event.workflow_execution_started_event_attributes
            if attributes.input.payloads:
                seen += [json.dumps(value) for value in await codec.decode(list(attributes.input.payloads), [dict])]
            assert secret.encode() not in event.SerializeToString()
    assert digest(key) in seen[0]
    assert not any(secret in text or "findable" in text for text in seen)


async def test_events_tell_of_keys_by_their_ids(caller: Caller) -> None:
    first = await made(caller, Scope.SLM_CALL, expires_in_seconds=60)
    view = first["api_key"]
    await caller.post(f"/v1/api-keys/{view['key_id']}/revoke")
    events = (await caller.get("/v1/events?topic=identity.events")).json()["events"]
    assert [event["type"] for event in events] == ["somagent.api_key.created.v1", "somagent.api_key.revoked.v1"]
    assert {event["subject"] for event in events} == {view["key_id"]}
    of_key = {"key_id": view["key_id"], "client_id": caller.client.client_id, "subject": caller.client.client_id}
    assert events[1]["data"] == of_key
    assert events[0]["data"] == of_key | {"scopes": ["slm:call"], "expires_at": view["expires_at"]}
