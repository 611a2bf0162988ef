"""What is wrong with a request: each fault its documented status and problem document, and nothing of it quoted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from gateway_under_test import PUBLIC_URL, Gateway

from api.problems import MEDIA_TYPE
from domain.errors import ERRORS

JSON = {"Content-Type": "application/json"}
MIB = 1024 * 1024


@pytest.fixture(scope="module")
async def bearer(gateway: Gateway) -> dict[str, str]:
    return await gateway.bearer()


def problem(answer: httpx2.Response, status: int, type_: str) -> dict[str, Any]:
    """The problem document, whole."""
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, MEDIA_TYPE), answer.text
    body = answer.json()
    assert body["type"] == f"{PUBLIC_URL}/problems/{type_}"
    assert (body["status"], body["title"]) == (status, ERRORS[type_].title)
    assert body["retryable"] is ERRORS[type_].retryable
    assert body["detail"].endswith((".", "`."))
    assert body["request_id"] == answer.headers["X-Request-ID"]
    assert len(body["trace_id"]) == 32
    assert "MARKER" not in answer.text
    return body


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"text": 7}, "#/text"),
        ({"number": "MARKER"}, "#/number"),
        ({"number": 11}, "#/number"),
        ({"number": 2.5}, "#/number"),
        ({"number": "7"}, "#/number"),
        ({"number": True}, "#/number"),
        ({"unknown": "MARKER"}, "#/unknown"),
        ({"names": ["a", {"MARKER": 1}]}, "#/names/1"),
        ({"a/b~": 1}, "#/a~1b~0"),
        ([], "#"),
        (None, "#"),
        ("MARKER", "#"),
    ],
)
async def test_a_body_that_does_not_match_is_pointed_at(
    http: httpx2.AsyncClient, bearer: dict[str, str], body: Any, pointer: str
) -> None:
    answer = await http.post("/test/echo", content=json.dumps(body), headers=bearer | JSON)
    errors = problem(answer, 400, "invalid-request")["errors"]
    assert [error["pointer"] for error in errors] == [pointer]


@pytest.mark.parametrize(
    "body", [b"{", b"nonsense MARKER", b'{"text": NaN}', b'{"text": "\\ud800"}', b'{"text": "\\u0000"}', b"\xff", b"[" * 5000]
)
async def test_a_body_that_is_no_sound_json_is_refused(http: httpx2.AsyncClient, bearer: dict[str, str], body: bytes) -> None:
    problem(await http.post("/test/echo", content=body, headers=bearer | JSON), 400, "invalid-request")


async def test_an_empty_body_is_refused(http: httpx2.AsyncClient, bearer: dict[str, str]) -> None:
    problem(await http.post("/test/echo", headers=bearer), 400, "invalid-request")


async def test_a_whole_number_may_be_written_as_a_fraction(http: httpx2.AsyncClient, bearer: dict[str, str]) -> None:
    answer = await http.post("/test/echo", content=b'{"number": 7.0}', headers=bearer | JSON)
    assert answer.json()["number"] == 7


async def test_a_sound_body_passes_with_its_line_ends_normalised(http: httpx2.AsyncClient, bearer: dict[str, str]) -> None:
    answer = await http.post("/test/echo", json={"text": "a\r\nb\tc 😀"}, headers=bearer)
    assert answer.json()["text"] == "a\nb\tc 😀"


@pytest.mark.parametrize(
    "media_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", "application/xml"]
)
async def test_another_media_type_is_refused(http: httpx2.AsyncClient, bearer: dict[str, str], media_type: str) -> None:
    answer = await http.post("/test/echo", content=b"{}", headers=bearer | {"Content-Type": media_type})
    problem(answer, 415, "unsupported-media-type")


@pytest.mark.parametrize("media_type", ["application/json", "Application/JSON", 'application/json; charset="UTF-8"'])
async def test_json_by_any_of_its_names_is_read(http: httpx2.AsyncClient, bearer: dict[str, str], media_type: str) -> None:
    answer = await http.post("/test/echo", content=b"{}", headers=bearer | {"Content-Type": media_type})
    assert answer.status_code == 200


async def chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 65_536):
        yield b" " * 65_536


async def test_a_declared_length_beyond_the_limit_is_refused(http: httpx2.AsyncClient, bearer: dict[str, str]) -> None:
    answer = await http.post("/test/echo", content=b" " * 10 * MIB, headers=bearer | JSON)
    assert problem(answer, 413, "too-large")["limit_bytes"] == MIB


async def test_a_body_in_chunks_is_refused_where_the_limit_is_passed(http: httpx2.AsyncClient, bearer: dict[str, str]) -> None:
    problem(await http.post("/test/echo", content=chunks(3 * MIB), headers=bearer | JSON), 413, "too-large")
    problem(await http.post("/test/raw", content=chunks(3 * MIB), headers=bearer), 413, "too-large")


async def test_a_route_may_take_more(http: httpx2.AsyncClient, bearer: dict[str, str]) -> None:
    for content in (b" " * 2 * MIB, chunks(2 * MIB)):
        assert (await http.post("/test/raw", content=content, headers=bearer)).json() == {"bytes": 2 * MIB}


@pytest.mark.parametrize("value", ["0", "101", "MARKER", ""])
async def test_a_wrong_query_parameter_is_named(http: httpx2.AsyncClient, bearer: dict[str, str], value: str) -> None:
    answer = await http.get("/test/query", params={"limit": value}, headers=bearer)
    assert problem(answer, 400, "invalid-request")["errors"][0]["parameter"] == "query.limit"


async def test_an_unknown_path_is_a_404(http: httpx2.AsyncClient) -> None:
    for path in ("/nowhere", "/v1/nowhere/", "/test/query/", "/v1/sessions/", "/%00", "/%ff"):
        body = problem(await http.get(path), 404, "not-found")
        assert body["instance"] == path


async def test_another_method_is_a_405_that_names_those_allowed(http: httpx2.AsyncClient) -> None:
    answer = await http.delete("/test/echo")
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["Allow"] == "POST"
    answer = await http.patch("/v1/documents/doc_" + "0" * 32)
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["Allow"] == "DELETE, GET"


@pytest.mark.parametrize(
    ("how", "status", "type_", "retry_after"),
    [
        ("unexpected", 500, "internal-error", None),
        ("refused", 500, "internal-error", None),
        ("gone", 404, "not-found", None),
        ("exhausted", 429, "too-many-requests", "1"),
        ("away", 503, "dependency-unavailable", "2"),
        ("slow", 503, "dependency-unavailable", "2"),
        ("full", 429, "too-many-turns", "4"),
    ],
)
async def test_what_fails_behind_the_edge_is_mapped_by_its_type(
    http: httpx2.AsyncClient, bearer: dict[str, str], how: str, status: int, type_: str, retry_after: str | None
) -> None:
    answer = await http.get(f"/test/fail/{how}", headers=bearer)
    body = problem(answer, status, type_)
    assert answer.headers.get("Retry-After") == retry_after
    assert body.get("queued") == (32 if how == "full" else None)


async def test_every_answer_carries_the_edges_headers(http: httpx2.AsyncClient, bearer: dict[str, str]) -> None:
    for path in ("/healthz", "/nowhere", "/test/whoami", "/test/fail/unexpected", "/test/fail/gone"):
        headers = (await http.get(path, headers=bearer)).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert headers["Strict-Transport-Security"].startswith("max-age=")
        assert headers["X-Request-ID"].startswith("req_")


async def test_a_request_id_is_kept_when_it_is_one(http: httpx2.AsyncClient) -> None:
    assert (await http.get("/healthz", headers={"X-Request-ID": "abc-1.2_3"})).headers["X-Request-ID"] == "abc-1.2_3"
    for bad in ("", "with space", "x" * 129, "<script>"):
        given = await http.get("/healthz", headers={"X-Request-ID": bad})
        assert given.headers["X-Request-ID"].startswith("req_")


async def test_a_callers_trace_is_in_the_problem(http: httpx2.AsyncClient) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = await http.get("/nowhere", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    assert answer.json()["trace_id"] == trace
    assert (await http.get("/nowhere", headers={"traceparent": "MARKER"})).json()["trace_id"] != trace


async def test_the_type_of_a_problem_leads_to_its_description(http: httpx2.AsyncClient) -> None:
    listed = (await http.get("/problems")).json()["problems"]
    assert {kind["type"] for kind in listed} == set(ERRORS)
    for kind in listed:
        assert (await http.get(f"/problems/{kind['type']}")).json() == kind
        assert kind["description"]
    problem(await http.get("/problems/unheard-of"), 404, "not-found")


async def test_a_caller_who_goes_away_mid_body_harms_nothing(gateway: Gateway, bearer: dict[str, str]) -> None:
    host, port = gateway.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /test/echo HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer['Authorization']}\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    async with gateway.http() as http:
        assert (await http.get("/healthz")).status_code == 200
