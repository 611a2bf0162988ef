"""Revocation by the client that holds a token (RFC 7009)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from delegating import REVOCATION, claims_of, delegated, refused, revoke, status, token_of
from live import PUBLIC_URL, Caller, Live

from domain.names import Scope

WITHIN_SECONDS = 1.0


async def revocations(caller: Caller) -> list[dict[str, Any]]:
    return (await caller.get("/v1/revocations")).json()["revocations"]


async def test_a_client_ends_its_token_and_all_below(product: Live, caller: Caller) -> None:
    async with product.caller(Scope.SESSION_READ, tenant=caller.tenant) as agent:
        first = await delegated(agent, token_of(caller))
        second = await delegated(caller, first)
        beside = await delegated(agent, token_of(caller))
        answer = await revoke(agent, first, token_type_hint="access_token")
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["Cache-Control"] == "no-store"
        await asyncio.sleep(WITHIN_SECONDS)
        tokens = (first, second, beside, token_of(agent), token_of(caller))
        assert [await status(caller, token) for token in tokens] == [401, 401, 200, 200, 200]
        (row,) = await revocations(caller)
        assert (row["kind"], row["value"], row["revoked_by"]) == ("jti", claims_of(first)["jti"], agent.client.client_id)
        again = await revoke(agent, first)
        assert (again.status_code, await revocations(caller)) == (200, [row])
        (event,) = (await caller.get("/v1/events?topic=identity.events")).json()["events"]
        assert (event["type"], event["data"]["value"]) == ("somagent.revocation.created.v1", row["value"])


async def test_who_delegated_may_end_it_and_who_was_delegated_to_not_more(product: Live, caller: Caller) -> None:
    async with product.caller(tenant=caller.tenant) as agent, product.caller(tenant=caller.tenant) as other:
        first = await delegated(agent, token_of(caller))
        assert "another client" in refused(await revoke(other, first), "invalid_grant")
        refused(await revoke(agent, token_of(caller)), "invalid_grant")
        assert await revocations(caller) == []
        assert (await revoke(caller, first)).status_code == 200
        await asyncio.sleep(WITHIN_SECONDS)
        assert [await status(caller, token) for token in (first, token_of(caller))] == [401, 200]


async def test_an_api_key_ends_as_a_key_does(product: Live, caller: Caller) -> None:
    made = (await caller.post("/v1/api-keys", {"name": "a", "scopes": ["session:read"]})).json()
    assert await status(caller, made["key"]) == 200
    async with product.caller(tenant=caller.tenant) as other, product.caller() as stranger:
        refused(await revoke(other, made["key"]), "invalid_grant")
        assert (await revoke(stranger, made["key"])).status_code == 200
    path = f"/v1/api-keys/{made['api_key']['key_id']}"
    assert (await caller.get(path)).json()["status"] == "active"
    for _ in range(2):
        assert (await revoke(caller, made["key"], token_type_hint="nonsense")).status_code == 200
    await asyncio.sleep(WITHIN_SECONDS)
    assert await status(caller, made["key"]) == 401
    assert (await caller.get(path)).json()["status"] == "revoked"
    assert await revocations(caller) == []


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", "soma_sk_", "soma_sk_" + "x" * 43, "x" * 9000, "é\n"])
async def test_what_is_no_token_is_as_good_as_revoked(caller: Caller, token: str) -> None:
    assert (await revoke(caller, token)).status_code == 200
    assert await revocations(caller) == []


async def test_another_tenants_token_is_no_token_here(product: Live, caller: Caller) -> None:
    async with product.caller() as stranger:
        assert (await revoke(stranger, token_of(caller))).status_code == 200
        assert await revocations(stranger) == []
    await asyncio.sleep(WITHIN_SECONDS)
    assert await status(caller, token_of(caller)) == 200


async def test_bad_requests_are_refused(caller: Caller) -> None:
    credentials = (caller.client.client_id, caller.client.secret)
    post = caller.http.post
    refused(await post(REVOCATION, data={"token_type_hint": "access_token"}, auth=credentials), "invalid_request")
    refused(await post(REVOCATION, json={"token": "x"}, auth=credentials), "invalid_request")
    twice = {"Content-Type": "application/x-www-form-urlencoded"}
    refused(await post(REVOCATION, content=b"token=a&token=b", headers=twice, auth=credentials), "invalid_request")
    for wrong in (None, (caller.client.client_id, "wrong")):
        answer = await post(REVOCATION, data={"token": token_of(caller)}, auth=wrong)
        refused(answer, "invalid_client", 401)
        assert "WWW-Authenticate" in answer.headers
    assert await status(caller, token_of(caller)) == 200


async def test_metadata_names_the_endpoint_and_the_grants(caller: Caller) -> None:
    server = (await caller.http.get("/.well-known/oauth-authorization-server")).json()
    assert server["revocation_endpoint"] == f"{PUBLIC_URL}{REVOCATION}"
    assert server["revocation_endpoint_auth_methods_supported"] == ["client_secret_basic", "client_secret_post"]
    assert server["grant_types_supported"] == [
        "client_credentials",
        "urn:ietf:params:oauth:grant-type:token-exchange",
        "authorization_code",
    ]
