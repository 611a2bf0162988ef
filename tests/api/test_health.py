"""Health: alive while the process is, ready while all that is needed answers, degraded without Redis."""

from __future__ import annotations

import asyncio
from time import perf_counter

import httpx2
import pytest
from gateway_under_test import Gateway, StartGateway, eventually

from api.services import Probe
from domain.errors import DependencyUnavailable
from runtime.admin import admin_app, serve
from workers.embedded.stack import EmbeddedStack

NOWHERE = "http://127.0.0.1:9/constitution"
"""Nothing listens on the discard port."""


async def well() -> None:
    """A probe of something that answers."""


async def broken() -> None:
    raise DependencyUnavailable("The server at 10.0.0.1 does not answer.")


async def hanging() -> None:
    await asyncio.Event().wait()


async def test_each_dependency_is_named(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/readyz")
    states = {name: found["status"] for name, found in answer.json()["dependencies"].items()}
    assert states == {"postgres": "ok", "temporal": "ok", "constitution": "ok", "redis": "ok"}
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")


async def test_without_a_constitution_it_is_not_ready(compose_gateway: StartGateway) -> None:
    gateway = await compose_gateway(constitution_url=NOWHERE, redis_url=None)
    async with gateway.http() as http:
        answer = await http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["dependencies"]["constitution"]["reason"] == "constitution-unavailable"
    assert "redis" not in answer.json()["dependencies"]


async def test_what_is_needed_fails_and_what_is_not_degrades(start_gateway: StartGateway) -> None:
    for probes, status, state in (
        ((Probe("a", well), Probe("b", well, needed=False)), 200, "ok"),
        ((Probe("a", well), Probe("b", broken, needed=False)), 200, "degraded"),
        ((Probe("a", broken), Probe("b", broken, needed=False)), 503, "failed"),
    ):
        gateway = await start_gateway(probes=probes)
        async with gateway.http() as http:
            answer = await http.get("/readyz")
            assert (answer.status_code, answer.json()["status"]) == (status, state)
            assert "10.0.0.1" not in answer.text


async def test_probes_run_together_and_never_longer_than_their_bound(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(probes=tuple(Probe(f"p{number}", hanging) for number in range(5)))
    async with gateway.http() as http:
        started = perf_counter()
        answer = await http.get("/readyz")
        assert perf_counter() - started < 3
        assert {found["reason"] for found in answer.json()["dependencies"].values()} == {"timeout"}
        assert (await http.get("/healthz")).json() == {"status": "ok"}


async def test_servers_that_go_and_come_back_are_seen(stack: EmbeddedStack, http: httpx2.AsyncClient) -> None:
    async def state(name: str) -> str:
        return (await http.get("/readyz")).json()["dependencies"][name]["status"]

    for part, probe, down in (("valkey", "redis", "degraded"), ("postgres", "postgres", "failed")):
        await asyncio.to_thread(stack.part(part).kill9)
        try:
            assert await state(probe) == down
        finally:
            await asyncio.to_thread(stack.part(part).start)
        await eventually(lambda probe=probe: state(probe), "ok")


async def test_while_postgres_is_down_a_request_is_told_to_come_again(
    stack: EmbeddedStack, gateway: Gateway, http: httpx2.AsyncClient
) -> None:
    headers = await gateway.bearer()
    await asyncio.to_thread(stack.part("postgres").kill9)
    try:
        answer = await http.get("/test/whoami", headers=headers)
        assert (answer.status_code, answer.json()["retryable"]) == (503, True)
        assert answer.headers["Retry-After"] == "2"
    finally:
        await asyncio.to_thread(stack.part("postgres").start)

    async def status() -> int:
        return (await http.get("/test/whoami", headers=headers)).status_code

    await eventually(status, 200)


async def test_the_admin_port_tells_health(http: httpx2.AsyncClient, gateway: Gateway) -> None:
    alive = True

    async def healthy() -> bool:
        return alive

    async with serve(admin_app(gateway.services.metrics.registry, healthy), "127.0.0.1", 0) as port:
        assert (await http.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200
        alive = False
        assert (await http.get(f"http://127.0.0.1:{port}/healthz")).json() == {"status": "failed"}
        with pytest.raises(DependencyUnavailable, match=str(port)):
            await serve(admin_app(gateway.services.metrics.registry, healthy), "127.0.0.1", port).__aenter__()
