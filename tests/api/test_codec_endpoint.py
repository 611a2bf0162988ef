"""The decoder that Temporal's web UI calls from an operator's browser: real payloads in, the clear out, one origin let in."""

from __future__ import annotations

import base64
from typing import Any

import httpx2
import pytest
from gateway_under_test import Gateway, StartGateway
from temporalio.api.common.v1 import Payload
from temporalio.client import Client

from domain.names import Scope, WorkflowName
from runtime.codec import ENCODING

UI = "http://127.0.0.1:8233"
DECODE = "/v1/codec/decode"


@pytest.fixture(scope="module")
def temporal(gateway: Gateway) -> Client:
    return gateway.services.temporal


async def history_payload(temporal: Client, name: str) -> Payload:
    """A payload as Temporal keeps it: the argument of a run that nobody works on."""
    argument = {"document": name}
    run = await temporal.start_workflow(WorkflowName.DOCUMENT_DELETE.value, argument, id=f"codec/{name}", task_queue="nobody")
    first = await anext(aiter(run.fetch_history_events()))
    (payload,) = first.workflow_execution_started_event_attributes.input.payloads
    await run.terminate()
    return payload


def wire(payload: Payload, **changed: bytes) -> dict[str, Any]:
    metadata = {name: base64.b64encode(value).decode() for name, value in payload.metadata.items()}
    return {"metadata": metadata, "data": base64.b64encode(changed.get("data", payload.data)).decode()}


async def decode(http: httpx2.AsyncClient, headers: dict[str, str], *payloads: dict[str, Any]) -> httpx2.Response:
    return await http.post(DECODE, json={"payloads": payloads}, headers=headers)


async def test_a_payload_of_a_history_is_decoded(gateway: Gateway, http: httpx2.AsyncClient, temporal: Client) -> None:
    kept = await history_payload(temporal, "one")
    assert kept.metadata["encoding"] == ENCODING
    assert b"document" not in kept.data
    clear = {"metadata": {"encoding": base64.b64encode(b"json/plain").decode()}, "data": base64.b64encode(b"7").decode()}

    answer = await decode(http, await gateway.bearer(Scope.CODEC_DECODE), wire(kept), clear)

    assert answer.status_code == 200, answer.text
    first, second = answer.json()["payloads"]
    assert base64.b64decode(first["metadata"]["encoding"]) == b"json/plain"
    assert base64.b64decode(first["data"]) == b'{"document":"one"}'
    assert second == clear


@pytest.mark.parametrize("fault", ["tampered", "other_key", "cut"])
async def test_what_cannot_be_decrypted_is_refused(
    gateway: Gateway, http: httpx2.AsyncClient, temporal: Client, fault: str
) -> None:
    payload = await history_payload(temporal, fault)
    if fault == "other_key":
        payload.metadata["encryption-key-id"] = b"k-gone"
    data = {"tampered": payload.data[:-1] + bytes([payload.data[-1] ^ 1]), "cut": payload.data[:5]}.get(fault, payload.data)

    answer = await decode(http, await gateway.bearer(Scope.CODEC_DECODE), wire(payload, data=data))

    assert answer.status_code == 422, answer.text
    assert answer.json()["type"].endswith("/problems/unprocessable")


async def test_without_the_operators_scope_nothing_is_decoded(
    gateway: Gateway, http: httpx2.AsyncClient, temporal: Client
) -> None:
    kept = wire(await history_payload(temporal, "scoped"))
    others = tuple(scope for scope in Scope if scope is not Scope.CODEC_DECODE)

    answer = await decode(http, await gateway.bearer(*others), kept)

    assert (answer.status_code, answer.json()["scope"]) == (403, "codec:decode")
    assert (await decode(http, {}, kept)).status_code == 401


async def test_what_is_no_payload_is_refused(gateway: Gateway, http: httpx2.AsyncClient) -> None:
    answer = await decode(http, await gateway.bearer(Scope.CODEC_DECODE), {"metadata": {}, "data": "no base64"})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "#/payloads/0/data"


async def test_the_uis_pages_may_read_every_answer_and_no_other_pages_any(compose_gateway: StartGateway) -> None:
    gateway = await compose_gateway(temporal_ui_url=f"{UI}/")
    operator, reader = await gateway.bearer(Scope.CODEC_DECODE), await gateway.bearer(Scope.SESSION_READ)
    async with gateway.http() as http:

        async def answers(origin: str) -> list[httpx2.Response]:
            named = {"Origin": origin}
            return [
                await http.options(DECODE, headers=named | {"Access-Control-Request-Method": "POST"}),
                await decode(http, operator | named),
                await http.post(DECODE, content=b"{", headers=operator | named | {"Content-Type": "application/json"}),
                await decode(http, named),
                await decode(http, reader | named),
                await decode(http, operator | named, {"data": "no base64"}),
            ]

        own = await answers(UI)
        assert [answer.status_code for answer in own] == [204, 200, 400, 401, 403, 400]
        for answer in own:
            assert answer.headers["Access-Control-Allow-Origin"] == UI
            assert answer.headers["Vary"] == "Origin"
        assert own[0].headers["Access-Control-Allow-Methods"] == "POST"
        assert "Authorization" in own[0].headers["Access-Control-Allow-Headers"]
        for answer in (*await answers("https://elsewhere.example"), *await answers("null"), await http.options(DECODE)):
            assert not [name for name in answer.headers if name.startswith("access-control-")]
            assert answer.headers["Vary"] == "Origin"
