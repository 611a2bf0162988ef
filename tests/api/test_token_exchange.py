"""Token exchange over HTTP: what is delegated narrows, whoever asks."""

from __future__ import annotations

import asyncio

import pytest
from delegating import (
    ACCESS,
    WITHIN_SECONDS,
    claims_of,
    delegated,
    exchange,
    refused,
    revoked,
    status,
    token_of,
)
from live import PUBLIC_URL, Caller, Live

from adapters.postgres.identity import disable_client, replace_secret
from domain.names import Scope


async def test_a_token_is_traded_for_a_narrower_one(product: Live, caller: Caller) -> None:
    async with product.caller(Scope.SESSION_READ, Scope.DOCUMENT_READ, tenant=caller.tenant) as agent:
        subject = token_of(caller)
        answer = await exchange(agent, subject, scope="session:read", resource=f"{PUBLIC_URL}/", audience="somagent")
        body = answer.json()
        assert (answer.status_code, set(body)) == (
            200,
            {"access_token", "issued_token_type", "token_type", "expires_in", "scope"},
        )
        assert (body["issued_token_type"], body["token_type"], body["scope"]) == (ACCESS, "Bearer", "session:read")
        assert (answer.headers["Cache-Control"], answer.headers["Pragma"]) == ("no-store", "no-cache")
        before, claims = claims_of(subject), claims_of(body["access_token"])
        assert (claims["sub"], claims["tenant"], claims["client_id"]) == (before["sub"], caller.tenant, agent.client.client_id)
        assert claims["act"] == {"sub": agent.client.client_id}
        assert claims["ancestors"] == [
            {"jti": before["jti"], "client_id": before["client_id"], "sub": before["sub"], "iat": before["iat"]}
        ]
        assert claims["exp"] <= before["exp"]
        assert claims["exp"] - claims["iat"] == body["expires_in"]
        assert [await status(agent, body["access_token"], path) for path in ("/v1/sessions", "/v1/documents")] == [200, 403]

        again = claims_of(await delegated(caller, body["access_token"]))
        assert again["act"] == {"sub": caller.client.client_id, "act": {"sub": agent.client.client_id}}
        assert [each["jti"] for each in again["ancestors"]] == [claims["jti"], before["jti"]]
        assert (again["sub"], again["scope"]) == (before["sub"], "session:read")


async def test_without_a_scope_it_holds_what_both_do(product: Live, caller: Caller) -> None:
    async with product.caller(Scope.SESSION_READ, Scope.SLM_CALL, tenant=caller.tenant) as agent:
        assert (await exchange(agent, token_of(caller))).json()["scope"] == "session:read slm:call"
        assert (await exchange(caller, token_of(agent))).json()["scope"] == "session:read slm:call"
        one = await delegated(agent, token_of(caller), scope="session:read:ses_1* session:read:ses_1*")
        assert claims_of(one)["scope"] == "session:read:ses_1*"


@pytest.mark.parametrize("scope", ["document:read", "session:read policy:approve", "session:read:*:x", "nonsense", "é"])
async def test_no_scope_widens(product: Live, caller: Caller, scope: str) -> None:
    async with product.caller(Scope.SESSION_READ, tenant=caller.tenant) as agent:
        refused(await exchange(agent, token_of(caller), scope=scope), "invalid_scope")
        refused(await exchange(caller, token_of(agent), scope=scope), "invalid_scope")
        narrow = await delegated(caller, token_of(caller), scope="session:read:ses_1*")
        refused(await exchange(caller, narrow, scope="session:read"), "invalid_scope")
        refused(await exchange(agent, await delegated(caller, token_of(caller), scope="slm:call")), "invalid_scope")


async def test_it_lives_no_longer_than_what_it_comes_from(caller: Caller) -> None:
    first = await exchange(caller, token_of(caller), expires_in="60")
    assert first.json()["expires_in"] == 60
    for asked in ("1000", "9007199254740991"):
        second = await exchange(caller, first.json()["access_token"], expires_in=asked)
        assert claims_of(second.json()["access_token"])["exp"] == claims_of(first.json()["access_token"])["exp"]
    brief = await delegated(caller, token_of(caller), expires_in="1")
    await asyncio.sleep(1.1)
    # It is taken for five seconds more, and not delegated any longer.
    refused(await exchange(caller, brief), "invalid_request")


async def test_who_exchanges_with_itself_comes_four_deep(caller: Caller) -> None:
    token = token_of(caller)
    for depth in range(1, 5):
        token = await delegated(caller, token)
        assert len(chain_of(token)) == depth
    assert await status(caller, token) == 200
    assert "4 times" in refused(await exchange(caller, token), "invalid_request")


def chain_of(token: str) -> list[str]:
    chain, act = [], claims_of(token).get("act")
    while act:
        chain.append(act["sub"])
        act = act.get("act")
    return chain


async def test_an_actors_token_says_who_acts_and_bounds_it_too(product: Live, caller: Caller) -> None:
    async with product.caller(Scope.SESSION_READ, tenant=caller.tenant) as agent:
        own = token_of(agent)
        made = await exchange(caller, token_of(caller), actor_token=own, actor_token_type=ACCESS)
        claims = claims_of(made.json()["access_token"])
        assert (claims["act"], claims["scope"]) == ({"sub": agent.client.client_id}, "session:read")
        assert claims["client_id"] == caller.client.client_id
        assert claims_of(own)["jti"] in [each["jti"] for each in claims["ancestors"]]
        wider = await exchange(caller, token_of(caller), actor_token=own, actor_token_type=ACCESS, scope="slm:call")
        refused(wider, "invalid_scope")
        chained = await delegated(agent, token_of(caller))
        for bad in (chained, token_of(caller), "nonsense", "soma_sk_" + "x" * 43):
            refused(await exchange(caller, token_of(caller), actor_token=bad, actor_token_type=ACCESS), "invalid_request")
        token = made.json()["access_token"]
        await revoked(caller, "jti", claims_of(own)["jti"])
        assert [await status(caller, each) for each in (token, token_of(caller))] == [401, 200]


async def test_another_tenants_token_looks_like_a_revoked_one(product: Live, caller: Caller) -> None:
    async with product.caller() as stranger, product.caller(tenant=caller.tenant) as gone, product.caller() as other:
        foreign = refused(await exchange(stranger, token_of(caller)), "invalid_request")
        await revoked(caller, "client", gone.client.client_id)
        assert refused(await exchange(caller, token_of(gone)), "invalid_request") == foreign
        await disable_client(product.pool, other.tenant, other.client.client_id)
        refused(await exchange(other, token_of(other)), "invalid_client", 401)


async def test_what_a_client_holds_no_longer_is_not_delegated(product: Live, caller: Caller) -> None:
    """Neither what the client that acts has lost, nor what the client of the token has."""
    async with product.caller(tenant=caller.tenant) as agent:
        token = await delegated(agent, token_of(caller), scope="session:read")
        assert await status(caller, token) == 200
        await replace_secret(product.pool, caller.tenant, caller.client.client_id, (Scope.DOCUMENT_READ,))
        await asyncio.sleep(WITHIN_SECONDS)
        assert await status(agent, token) == 401
        refused(await exchange(agent, token_of(caller)), "invalid_request")


async def test_a_sessions_token_keeps_the_chain_and_the_bounds(caller: Caller) -> None:
    token = await delegated(caller, token_of(caller), expires_in="120", scope="session:start session:read")
    started = await Caller(caller.http, caller.client, token).start("What is a library?")
    assert started.status_code == 201, started.text
    capability = started.json()["capability"]
    claims, parent = claims_of(capability["access_token"]), claims_of(token)
    assert (claims["act"], claims["session_id"], claims["scope"]) == (parent["act"], started.json()["session_id"], "session:read")
    assert [each["jti"] for each in claims["ancestors"]] == [parent["jti"], claims_of(token_of(caller))["jti"]]
    assert claims["exp"] <= parent["exp"]
    path = f"/v1/sessions/{started.json()['session_id']}"
    assert await status(caller, capability["access_token"], path) == 200
    refused(await exchange(caller, capability["access_token"]), "invalid_request")
    await revoked(caller, "jti", parent["jti"])
    assert await status(caller, capability["access_token"], path) == 401


async def test_a_delegated_token_makes_no_key_that_would_outlive_it(caller: Caller) -> None:
    acting = Caller(caller.http, caller.client, await delegated(caller, token_of(caller)))
    answer = await acting.post("/v1/api-keys", {"name": "a", "scopes": ["session:read"]})
    assert (answer.status_code, answer.json()["type"].rsplit("/", 1)[-1]) == (403, "forbidden")
    assert (await caller.get("/v1/api-keys")).json()["api_keys"] == []
