"""Capabilities narrowed to some resources, over HTTP: what they open at the edge, at the gate, and what may be given on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from live import Caller, Live
from nothing_written import assert_problem, rows

from domain.names import Scope


@pytest.fixture
async def session(caller: Caller) -> dict[str, Any]:
    """A session that was answered once."""
    return (await caller.start("What is tea?")).json()


@pytest.fixture
async def reader(product: Live, caller: Caller, session: dict[str, Any]) -> AsyncIterator[Caller]:
    """May read that session and send to it, and call one role of models."""
    narrow = (f"session:read:{session['session_id']}", f"session:send:{session['session_id']}", "slm:call:code*", "key:write")
    async with product.caller(*narrow, tenant=caller.tenant) as reader:
        yield reader


async def test_it_opens_its_resource_alone_and_no_list(
    product: Live, caller: Caller, session: dict[str, Any], reader: Caller
) -> None:
    other = (await caller.start()).json()["session_id"]
    mine = session["session_id"]
    assert (await reader.get(f"/v1/sessions/{mine}")).status_code == 200
    assert (await reader.get(f"/v1/sessions/{mine}/turns/{session['turn_id']}")).status_code == 200
    before = await rows(product, caller.tenant)
    for path in (f"/v1/sessions/{other}", "/v1/sessions", f"/v1/sessions/{mine}/events"):
        assert_problem(await reader.get(path), 403, "insufficient-scope")
    refused = await reader.send(other, "Hello")
    assert_problem(refused, 403, "insufficient-scope")
    assert refused.json()["scope"] == "session:send"
    assert 'error="insufficient_scope"' in refused.headers["WWW-Authenticate"]
    assert_problem(await reader.post(f"/v1/sessions/{mine}/close"), 403, "insufficient-scope")
    assert await rows(product, caller.tenant) == before


async def test_the_gate_answers_a_message_by_it(session: dict[str, Any], reader: Caller) -> None:
    sent = (await reader.send(session["session_id"], "And coffee?")).json()
    assert sent["turn"]["status"] == "completed", sent


async def test_a_role_of_models_is_called_and_no_other_and_no_model_of_choice(
    product: Live, caller: Caller, reader: Caller
) -> None:
    answer = await reader.post("/v1/slm/complete", {"prompt": "What is tea?", "role": "code_generation"})
    assert (answer.status_code, answer.json()["status"]) == (200, "completed"), answer.text
    request_id = answer.json()["request_id"]
    assert (await reader.post(f"/v1/slm/requests/{request_id}/cancel")).status_code == 200
    theirs = (await caller.post("/v1/slm/complete", {"prompt": "What is tea?"})).json()["request_id"]
    before = await rows(product, caller.tenant)
    for body in ({"role": "summarization"}, {}, {"role": "code_generation", "model": "soma/soma-extractive"}):
        for path in ("/v1/slm/complete", "/v1/slm/requests"):
            assert_problem(await reader.post(path, {"prompt": "What is tea?"} | body), 403, "insufficient-scope")
    assert_problem(await reader.post("/v1/slm/embed", {"texts": ["tea"]}), 403, "insufficient-scope")
    for act in ("cancel", "resume"):
        assert_problem(await reader.post(f"/v1/slm/requests/{theirs}/{act}"), 403, "insufficient-scope")
    assert await rows(product, caller.tenant) == before
    chat: dict[str, Any] = {"messages": [{"role": "user", "content": "What is tea?"}]}
    assert (await reader.post("/v1/chat/completions", chat | {"model": "code_generation"})).status_code == 200
    for more in ({"model": "summarization"}, {"model": "soma/soma-extractive"}, {"model": "summarization", "stream": True}):
        assert (await reader.post("/v1/chat/completions", chat | more)).status_code == 403
    assert (await reader.get("/v1/models/code_generation")).status_code == 200
    assert [(await reader.get(path)).status_code for path in ("/v1/models", "/v1/models/summarization")] == [403, 403]


async def test_a_session_token_is_as_narrow_as_its_maker(product: Live, caller: Caller) -> None:
    """Whoever may start sessions but read only some gets a token that reads this one when it is among them."""
    async with product.caller(Scope.SESSION_START, "session:read:ses_*", "session:send:doc_1", tenant=caller.tenant) as starter:
        started = (await starter.start("What is tea?")).json()
        assert started["capability"]["scope"] == f"session:read:{started['session_id']}"
        headers = {"Authorization": f"Bearer {started['capability']['access_token']}"}
        path = f"/v1/sessions/{started['session_id']}"
        assert (await caller.http.get(path, headers=headers)).status_code == 200
        sent = headers | {"Idempotency-Key": "once"}
        assert (await caller.http.post(f"{path}/messages", json={"content": "Hello"}, headers=sent)).status_code == 403


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("session:read:ses_1*", True),
        ("session:read:ses_12 session:read", True),
        ("document:read:doc_1", True),
        ("document:read:doc_12", False),
        ("document:read:doc_*", False),
        ("document:read", False),
        ("session:read:", False),
        ("session:read:a*b", False),
        ("session:start:ses_1", False),
    ],
)
async def test_the_token_endpoint_narrows_and_never_widens(product: Live, asked: str, given: bool) -> None:
    async with product.caller("session:read", "document:read:doc_1") as caller:
        form = {"grant_type": "client_credentials", "scope": asked}
        credentials = (caller.client.client_id, caller.client.secret)
        answer = await caller.http.post("/v1/oauth/token", data=form, auth=credentials)
        if not given:
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
            return
        assert (answer.status_code, answer.json()["scope"]) == (200, asked)
        headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        # The token holds: what it is refused is its scope alone.
        assert (await caller.http.get("/v1/events", headers=headers)).status_code == 403


async def test_so_many_scopes_that_no_token_holds_them_are_refused(product: Live) -> None:
    many = [f"session:read:ses_{'0' * 60}{number:03}" for number in range(60)]
    async with product.caller(*many) as caller:
        credentials = (caller.client.client_id, caller.client.secret)
        answer = await caller.http.post("/v1/oauth/token", data={"grant_type": "client_credentials"}, auth=credentials)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
        few = {"grant_type": "client_credentials", "scope": many[0]}
        assert (await caller.http.post("/v1/oauth/token", data=few, auth=credentials)).status_code == 200


async def test_a_key_is_as_narrow_as_it_is_made(product: Live, session: dict[str, Any], reader: Caller) -> None:
    mine = session["session_id"]
    made = await reader.post("/v1/api-keys", {"name": "a", "scopes": [f"session:read:{mine}"]})
    assert made.status_code == 201, made.text
    async with httpx2.AsyncClient(base_url=product.url, trust_env=False) as http:
        headers = {"Authorization": f"Bearer {made.json()['key']}"}
        assert (await http.get(f"/v1/sessions/{mine}", headers=headers)).status_code == 200
        assert (await http.get("/v1/sessions", headers=headers)).status_code == 403
    for wider in ("session:read", "session:read:ses_*", "slm:call", "slm:call:*"):
        assert_problem(await reader.post("/v1/api-keys", {"name": "a", "scopes": [wider]}), 403, "insufficient-scope")
    for nonsense in ("session:read:", "session:read:a b", "session:read:**", "session", "session:read:" + "x" * 160):
        assert_problem(await reader.post("/v1/api-keys", {"name": "a", "scopes": [nonsense]}), 400, "invalid-request")
