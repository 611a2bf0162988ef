"""What the gateway writes about its requests: ids, route, status, time; and what it counts. Never a path, a value or a text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
from gateway_under_test import Gateway
from prometheus_client.parser import text_string_to_metric_families

from domain.names import Scope
from runtime.admin import admin_app, serve


def written(log_file: Path) -> str:
    return log_file.read_text()


def line_of(log_file: Path, request_id: str, event: str = "request") -> dict[str, Any]:
    lines = [json.loads(line) for line in written(log_file).splitlines()]
    (found,) = [line for line in lines if line.get("request_id") == request_id and line["event"] == event]
    return found


async def test_a_request_is_one_line(gateway: Gateway, http: httpx2.AsyncClient, log_file: Path) -> None:
    client = await gateway.client(Scope.SESSION_READ)
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"Authorization": f"Bearer {gateway.token(client)}", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    answer = await http.get("/test/sessions/MARKER?q=MARKER", headers=headers)
    line = line_of(log_file, answer.headers["X-Request-ID"])
    assert (line["method"], line["route"], line["status"]) == ("GET", "/test/sessions/{session_id}", 200)
    assert (line["tenant"], line["client"], line["trace_id"]) == (client.tenant_id, client.client_id, trace)
    assert 0 < line["duration_ms"] < 20_000
    assert "MARKER" not in written(log_file)
    assert headers["Authorization"].split()[1] not in written(log_file)


async def test_failures_are_logged_with_their_place_and_no_message(
    gateway: Gateway, http: httpx2.AsyncClient, log_file: Path
) -> None:
    answer = await http.get("/test/fail/unexpected", headers=await gateway.bearer())
    line = line_of(log_file, answer.json()["request_id"], "request.failed")
    assert line["level"] == "error"
    assert line["trace_id"] == answer.json()["trace_id"]
    assert line["exception"][0]["type"] == "builtins.RuntimeError"
    assert "edge_routes.py" in line["exception"][0]["frames"][-1]
    assert "MARKER" not in written(log_file)


async def test_an_unknown_path_is_logged_without_it(http: httpx2.AsyncClient, log_file: Path) -> None:
    answer = await http.get("/MARKER")
    assert line_of(log_file, answer.headers["X-Request-ID"])["route"] == "unmatched"
    assert "MARKER" not in written(log_file)


async def test_requests_are_counted_by_route_without_tenants(gateway: Gateway, http: httpx2.AsyncClient) -> None:
    client = await gateway.client()
    token = {"Authorization": f"Bearer {gateway.token(client)}"}
    for _ in range(3):
        await http.get("/test/whoami", headers=token)
    await http.request("PROPFIND", "/test/whoami", headers=token)

    async def well() -> bool:
        return True

    async with serve(admin_app(gateway.services.metrics.registry, well), "127.0.0.1", 0) as port:
        answer = await http.get(f"http://127.0.0.1:{port}/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]
    ours = [sample for sample in samples if sample.name.startswith("somagent_http")]
    counts = {tuple(sample.labels.values()): sample.value for sample in ours if sample.name == "somagent_http_requests_total"}
    assert counts["GET", "/test/whoami", "200"] >= 3
    assert ("OTHER", "/test/whoami", "405") in counts
    assert {label for sample in ours for label in sample.labels} == {"method", "route", "status", "le"}
    assert client.tenant_id not in answer.text
    assert client.client_id not in answer.text
    assert "MARKER" not in answer.text
