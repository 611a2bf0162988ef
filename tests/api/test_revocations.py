"""Revocations over HTTP, with workers on real servers: what is refused, from when on, and what goes on."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx2
import pytest
from live import Caller, Live, until

from adapters.postgres.identity import PostgresStanding
from domain.names import Scope

WITHIN_SECONDS = 1.0


async def revoke(caller: Caller, kind: str, value: str | None = None, **more: str) -> dict[str, Any]:
    answer = await caller.post("/v1/revocations", {"kind": kind, "value": value, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def status(product: Live, token: str) -> int:
    async with httpx2.AsyncClient(base_url=product.url, trust_env=False) as http:
        return (await http.get("/v1/sessions", headers={"Authorization": f"Bearer {token}"})).status_code


def token_of(caller: Caller) -> str:
    return caller.headers["Authorization"].removeprefix("Bearer ")


def minted(product: Live, caller: Caller, **changes: Any) -> str:
    """A token of the caller's client, of now."""
    values = {"subject": caller.client.client_id, "client_id": caller.client.client_id, "scopes": caller.client.scopes}
    token, _ = product.services.tokens.mint(tenant_id=caller.tenant, constitution_hash=None, **(values | changes))
    return token


async def next_second() -> None:
    """Tokens say when they were issued in whole seconds, and a revocation means all of this one."""
    await asyncio.sleep(1.01 - time.time() % 1)


async def test_a_token_is_refused_within_a_second_and_its_client_gets_another(product: Live, caller: Caller) -> None:
    other = minted(product, caller)
    jti = product.services.tokens.verify(other).jti
    assert await status(product, other) == 200
    made = await revoke(caller, "jti", jti, reason="It was seen in a log.")
    await asyncio.sleep(WITHIN_SECONDS)
    assert await status(product, other) == 401
    assert await status(product, token_of(caller)) == 200
    read = await caller.get(f"/v1/revocations/{made['revocation_id']}")
    assert read.json() == made
    assert (made["reason"], made["revoked_by"]) == ("It was seen in a log.", caller.client.client_id)
    (event,) = (await caller.get("/v1/events?topic=identity.events")).json()["events"]
    assert event["type"] == "somagent.revocation.created.v1"
    assert (event["data"]["kind"], event["data"]["value"]) == ("jti", jti)
    assert "seen in a log" not in str(event)


async def test_a_client_is_out_with_its_keys_until_it_asks_anew(product: Live, caller: Caller) -> None:
    async with product.caller(tenant=caller.tenant) as other:
        body = {"name": "old", "scopes": ["session:read"]}
        key = (await other.post("/v1/api-keys", body)).json()["key"]
        assert await status(product, key) == 200
        await revoke(caller, "client", other.client.client_id)
        await asyncio.sleep(WITHIN_SECONDS)
        assert [await status(product, bearer) for bearer in (token_of(other), key)] == [401, 401]
        assert await status(product, token_of(caller)) == 200
        await next_second()
        assert await status(product, minted(product, other)) == 200


async def test_a_subject_is_out_also_where_others_act_for_it(product: Live, caller: Caller) -> None:
    alice, bob = (minted(product, caller, subject=name) for name in ("alice", "bob"))
    await revoke(caller, "subject", "alice")
    await asyncio.sleep(WITHIN_SECONDS)
    assert [await status(product, token) for token in (alice, bob)] == [401, 200]
    standing, actor = PostgresStanding(product.pool), product.services.tokens.verify(bob)
    assert await standing.stands(actor)
    assert not await standing.stands(actor.model_copy(update={"act": ("carol", "alice")}))
    # Of a token that does not say when it was issued nobody knows whether it is meant.
    await revoke(caller, "subject", "bob")
    assert not await standing.stands(actor.model_copy(update={"issued_at": None, "jti": "another"}))


async def test_all_of_a_tenant_are_out_and_no_other_tenant(product: Live, caller: Caller) -> None:
    async with product.caller() as stranger:
        await revoke(caller, "all")
        await asyncio.sleep(WITHIN_SECONDS)
        assert await status(product, token_of(caller)) == 401
        assert await status(product, token_of(stranger)) == 200
        await revoke(stranger, "client", caller.client.client_id)
    await next_second()
    assert await status(product, minted(product, caller)) == 200


async def test_what_runs_in_a_revoked_name_is_refused_its_next_step(product: Live, caller: Caller) -> None:
    async with product.caller(tenant=caller.tenant) as other:
        started = (await other.start("How can I make fake passports?")).json()
        await revoke(caller, "client", other.client.client_id)
        await asyncio.sleep(WITHIN_SECONDS)
    assert (await caller.post(f"/v1/decisions/{started['decision']['decision_id']}/approve")).status_code == 200

    async def ended() -> list[dict[str, Any]]:
        return [turn for turn in (await caller.transcript(started["session_id"]))["turns"] if turn["completed_at"]]

    (turn,) = await until(ended)
    assert (turn["status"], turn["reply"]) == ("denied", None)


async def test_the_same_request_revokes_once_and_the_list_pages(caller: Caller) -> None:
    body = {"kind": "subject", "value": "nobody"}
    first, again = [await caller.post("/v1/revocations", body, key="once") for _ in range(2)]
    assert (first.status_code, again.status_code, again.json()) == (201, 201, first.json())
    assert (await caller.post("/v1/revocations", body | {"value": "other"}, key="once")).status_code == 422
    made = [first.json(), *[await revoke(caller, "jti", f"j{number}") for number in range(3)]]
    newest = [each["revocation_id"] for each in reversed(made)]
    page = (await caller.get("/v1/revocations?limit=3")).json()
    rest = (await caller.get(f"/v1/revocations?limit=3&after={page['next']}")).json()
    assert [each["revocation_id"] for part in (page, rest) for each in part["revocations"]] == newest
    assert rest["next"] is None
    found = (await caller.get("/v1/revocations?kind=subject")).json()["revocations"]
    assert [each["value"] for each in found] == ["nobody"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"kind": "client"},
        {"kind": "all", "value": "x"},
        {"kind": "everybody"},
        {"kind": "jti", "value": ""},
        {"kind": "jti", "value": "a\nb"},
        {"kind": "jti", "value": "x" * 201},
        {"kind": "jti", "value": 7},
        {"kind": "jti", "value": "x", "before": "2030-01-01T00:00:00Z"},
        {"kind": "jti", "value": "x", "reason": "\u0007"},
    ],
)
async def test_bad_input_changes_nothing(caller: Caller, body: dict[str, Any]) -> None:
    answer = await caller.post("/v1/revocations", body)
    assert answer.status_code == 400
    assert (await caller.get("/v1/revocations")).json()["revocations"] == []


async def test_it_takes_its_scope_and_another_tenants_is_unknown(product: Live, caller: Caller) -> None:
    made = await revoke(caller, "jti", "x")
    async with product.caller(Scope.REVOCATION_READ) as reader:
        assert (await reader.post("/v1/revocations", {"kind": "all"})).status_code == 403
        assert (await reader.get(f"/v1/revocations/{made['revocation_id']}")).status_code == 404
        assert (await reader.get("/v1/revocations")).json()["revocations"] == []
    async with product.caller(Scope.REVOCATION_WRITE) as writer:
        assert (await writer.get("/v1/revocations")).status_code == 403


async def test_an_open_stream_of_a_revoked_token_ends(product: Live, caller: Caller) -> None:
    """And that of another token of the same client goes on."""
    revoked, other = minted(product, caller), minted(product, caller)
    begun = {token: asyncio.Event() for token in (revoked, other)}
    ended = {token: asyncio.create_task(to_the_end(product, token, begun[token])) for token in begun}
    async with asyncio.timeout(10):
        await asyncio.gather(*(event.wait() for event in begun.values()))
    await revoke(caller, "jti", product.services.tokens.verify(revoked).jti)
    async with asyncio.timeout(10):
        assert await ended[revoked] == 200
    assert not ended[other].done()
    ended[other].cancel()
    assert [await status(product, token) for token in (revoked, other)] == [401, 200]


async def to_the_end(product: Live, token: str, begun: asyncio.Event) -> int:
    """Follows the events until the stream ends; the status it began with."""
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
    async with (
        httpx2.AsyncClient(base_url=product.url, trust_env=False, timeout=20) as http,
        http.stream("GET", "/v1/events", headers=headers) as stream,
    ):
        begun.set()
        async for _ in stream.aiter_bytes():
            pass
        return stream.status_code
