"""What is wrong with a model request is said before anything is asked, reserved or written."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from gateway_under_test import Gateway

from adapters.postgres.connection import tenant_transaction
from domain.names import Scope

USER = {"role": "user", "content": "hello"}
CALL = {"id": "c1", "name": "look", "arguments": "{}"}
COUNTS = """
SELECT (SELECT count(*) FROM slm_requests) requests, (SELECT count(*) FROM slm_calls) calls,
       (SELECT count(*) FROM reservations) reservations, (SELECT count(*) FROM blobs) blobs,
       (SELECT count(*) FROM decisions) decisions, (SELECT count(*) FROM outbox) outbox
"""
WRONG: dict[str, tuple[dict[str, Any], int]] = {
    "nothing": ({}, 400),
    "empty prompt": ({"prompt": ""}, 400),
    "prompt and messages": ({"prompt": "x", "messages": [USER]}, 400),
    "unknown field": ({"prompt": "x", "promt": "y"}, 400),
    "assistant last": ({"messages": [USER, {"role": "assistant", "content": "hi"}]}, 400),
    "system alone": ({"messages": [{"role": "system", "content": "be kind"}]}, 400),
    "empty message": ({"messages": [{"role": "user", "content": ""}]}, 400),
    "unknown role of a message": ({"messages": [{"role": "wizard", "content": "x"}]}, 400),
    "answer to no call": ({"messages": [USER, {"role": "tool", "content": "4", "tool_call_id": "c9"}]}, 400),
    "tool's message without an id": ({"messages": [USER, {"role": "tool", "content": "4"}]}, 400),
    "user calls a tool": ({"messages": [{**USER, "tool_calls": [CALL]}]}, 400),
    "image of an assistant": (
        {"messages": [{"role": "assistant", "content": "x", "images": [{"media_type": "image/png", "data": "AAAA"}]}, USER]},
        400,
    ),
    "image that is no base64": ({"messages": [{**USER, "images": [{"media_type": "image/png", "data": "?"}]}]}, 400),
    "two tools of a name": ({"prompt": "x", "tools": [{"name": "t"}, {"name": "t"}]}, 400),
    "tool without an object": ({"prompt": "x", "tools": [{"name": "t", "parameters": {"type": "string"}}]}, 400),
    "choice of no tool": ({"prompt": "x", "tools": [{"name": "t"}], "tool_choice": "other"}, 400),
    "required without tools": ({"prompt": "x", "tool_choice": "required"}, 400),
    "negative max_output_tokens": ({"prompt": "x", "max_output_tokens": -1}, 400),
    "temperature as text": ({"prompt": "x", "settings": {"temperature": "0.5"}}, 400),
    "temperature too high": ({"prompt": "x", "settings": {"temperature": 2.5}}, 400),
    "control character": ({"prompt": "x\u0000"}, 400),
    "record separator": ({"prompt": "x\u001ey"}, 400),
    "unknown role": ({"prompt": "x", "role": "fortune_telling"}, 404),
    "unknown model": ({"prompt": "x", "model": "nobody/nothing"}, 404),
    "model without a provider": ({"prompt": "x", "model": "nothing"}, 400),
    "what no model can": ({"prompt": "x", "tools": [{"name": "t"}]}, 400),
    "unknown session": ({"prompt": "x", "session_id": "ses_" + "0" * 32}, 422),
    "lane of the platform": ({"prompt": "x", "lane": "safety"}, 400),
    "deadline of a week": ({"prompt": "x", "deadline_seconds": 604_800}, 400),
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_wrong_request_is_refused_and_nothing_is_written(gateway: Gateway, name: str) -> None:
    body, status = WRONG[name]
    client = await gateway.client()
    headers = {"Authorization": f"Bearer {gateway.token(client)}", "Idempotency-Key": str(uuid.uuid4())}
    async with gateway.http() as http:
        answer = await http.post("/v1/slm/complete", json=body, headers=headers)
    assert answer.status_code == status, answer.text
    problem = answer.json()
    assert (problem["status"], answer.headers["content-type"]) == (status, "application/problem+json")
    assert problem["detail"]
    async with tenant_transaction(gateway.pool, client.tenant_id) as connection:
        written = await connection.fetchrow(COUNTS)
    assert written is not None
    assert set(dict(written).values()) == {0}, dict(written)


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e400"])
async def test_numbers_that_are_none_are_refused(gateway: Gateway, literal: str) -> None:
    headers = await gateway.bearer() | {"Idempotency-Key": str(uuid.uuid4()), "Content-Type": "application/json"}
    async with gateway.http() as http:
        body = f'{{"prompt": "x", "settings": {{"temperature": {literal}}}}}'
        answer = await http.post("/v1/slm/complete", content=body, headers=headers)
    assert answer.status_code == 400


async def test_ten_megabytes_are_too_much(gateway: Gateway) -> None:
    headers = await gateway.bearer() | {"Idempotency-Key": str(uuid.uuid4())}
    async with gateway.http() as http:
        answer = await http.post("/v1/slm/complete", json={"prompt": "x" * 10_000_000}, headers=headers)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/v1/slm/complete", Scope.SLM_READ),
        ("POST", "/v1/slm/requests", Scope.SLM_READ),
        ("GET", "/v1/slm/requests", Scope.SLM_CALL),
        ("GET", "/v1/slm/roles", Scope.SLM_CALL),
    ],
)
async def test_each_address_needs_its_scope(gateway: Gateway, method: str, path: str, scope: Scope) -> None:
    headers = await gateway.bearer(scope) | {"Idempotency-Key": str(uuid.uuid4())}
    async with gateway.http() as http:
        answer = await http.request(method, path, json={"prompt": "x"} if method == "POST" else None, headers=headers)
    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (403, "insufficient-scope")


async def test_a_forecast_costs_and_keeps_nothing(gateway: Gateway) -> None:
    client = await gateway.client(Scope.SLM_READ)
    headers = {"Authorization": f"Bearer {gateway.token(client)}"}
    async with gateway.http() as http:
        answer = await http.post("/v1/slm/forecast", json={"prompt": "x" * 4000, "max_output_tokens": 100}, headers=headers)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["model"], found["cost_micros"], found["forecast"]["calls"]) == ("soma/soma-extractive", 0, 0)
    assert found["forecast"]["low_tokens"] <= found["forecast"]["input_tokens"] + found["forecast"]["output_tokens"]
    assert found["forecast"]["high_tokens"] <= found["bound_tokens"]


async def test_roles_name_their_models(gateway: Gateway) -> None:
    async with gateway.http() as http:
        answer = await http.get("/v1/slm/roles", headers=await gateway.bearer(Scope.SLM_READ))
    roles = {role["role"]: role["models"] for role in answer.json()["roles"]}
    assert roles["dialogue_reasoning"] == ["soma/soma-extractive"]
    assert roles["embeddings"] == ["soma/soma-lexical"]
