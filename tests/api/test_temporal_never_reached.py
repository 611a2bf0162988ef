"""A gateway whose client never reached Temporal: it connects with its first call, which fails otherwise than a broken one."""

from __future__ import annotations

import uuid

import httpx2
import pytest
from gateway_under_test import StartGateway
from temporalio.client import Client

from domain.names import Scope
from runtime.plugin import somagent_plugin
from workers.embedded.ports import free_ports


@pytest.mark.parametrize(
    ("path", "body", "scope"),
    [
        ("/v1/sessions/start", {"prompt": "Hello?"}, Scope.SESSION_START),
        ("/v1/slm/requests", {"messages": [{"role": "user", "content": "Hello?"}]}, Scope.SLM_CALL),
        ("/v1/documents", {"name": "a.txt", "content": "a", "media_type": "text/plain"}, Scope.DOCUMENT_WRITE),
        ("/v1/revocations", {"kind": "jti", "value": "j"}, Scope.REVOCATION_WRITE),
    ],
)
async def test_what_needs_temporal_is_unavailable(
    start_gateway: StartGateway, path: str, body: dict[str, object], scope: Scope
) -> None:
    answer = await _posted(start_gateway, path, body, scope)
    assert answer.status_code == 503, answer.text
    assert answer.json()["type"].endswith("/dependency-unavailable")


async def test_a_kill_switch_is_engaged_all_the_same(start_gateway: StartGateway) -> None:
    body = {"scope": "tenant", "reason": "Temporal is away."}
    answer = await _posted(start_gateway, "/v1/kill-switches", body, Scope.KILLSWITCH_ENGAGE)
    assert (answer.status_code, answer.json()["state"]) == (201, "engaged")


async def _posted(start_gateway: StartGateway, path: str, body: dict[str, object], scope: Scope) -> httpx2.Response:
    (port,) = free_ports(1)
    gateway = await start_gateway(temporal=await Client.connect(f"127.0.0.1:{port}", lazy=True, plugins=[somagent_plugin(None)]))
    headers = await gateway.bearer(scope) | {"Idempotency-Key": str(uuid.uuid4())}
    async with gateway.http() as http:
        return await http.post(path, json=body, headers=headers)
