"""A write that is sent again: the first answer, once worked on, whatever happened to the first attempt."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from gateway_under_test import PUBLIC_URL, Gateway

from adapters.postgres.connection import tenant_transaction


def key() -> str:
    return uuid.uuid4().hex


class Caller:
    """A client that sends writes under a key."""

    def __init__(self, http: httpx2.AsyncClient, headers: dict[str, str]) -> None:
        self.http, self.headers = http, headers

    async def send(self, idempotency_key: str, body: dict[str, Any], thing: str = "one") -> httpx2.Response:
        return await self.http.post(
            f"/test/things/{thing}", json=body, headers=self.headers | {"Idempotency-Key": idempotency_key}
        )


@pytest.fixture
async def caller(gateway: Gateway, http: httpx2.AsyncClient) -> Caller:
    return Caller(http, await gateway.bearer())


def problem_type(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].removeprefix(f"{PUBLIC_URL}/problems/")


async def test_the_first_answer_comes_again_with_what_is_fresh(gateway: Gateway, caller: Caller) -> None:
    once = key()
    first = await caller.send(once, {"text": "é"})
    await caller.send(key(), {"text": "other"})
    again = await caller.send(once, {"text": "é"})
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["id"] == again.json()["id"]
    assert first.headers["Location"] == again.headers["Location"] == f"/test/things/{first.json()['id']}"
    assert again.json()["fresh"] > first.json()["fresh"]
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert gateway.work.done.count(first.json()["id"]) == 1


async def test_what_is_kept_holds_nothing_fresh(gateway: Gateway, http: httpx2.AsyncClient) -> None:
    client = await gateway.client()
    once = key()
    await Caller(http, {"Authorization": f"Bearer {gateway.token(client)}"}).send(once, {})
    async with tenant_transaction(gateway.pool, client.tenant_id) as connection:
        kept = await connection.fetchval("SELECT response FROM idempotency_keys WHERE key = $1", once)
    assert set(kept["body"]) == {"id", "thing"}


@pytest.mark.parametrize("value", [None, "", "é", "two words", "x" * 256, "tab\there"])
async def test_a_key_is_needed_and_must_be_one(caller: Caller, value: str | None) -> None:
    headers: dict[str, Any] = caller.headers | ({} if value is None else {"Idempotency-Key": value.encode()})
    answer = await caller.http.post("/test/things/one", json={}, headers=headers)
    assert problem_type(answer) == (400, "missing-idempotency-key" if value is None else "invalid-request")


async def test_another_body_under_the_same_key_is_refused(caller: Caller) -> None:
    once = key()
    await caller.send(once, {"text": "one"})
    assert problem_type(await caller.send(once, {"text": "two"})) == (422, "idempotency-key-reused")
    assert problem_type(await caller.send(once, {"text": "one"}, thing="two")) == (422, "idempotency-key-reused")
    assert (await caller.send(once, {"number": 0, "text": "one"})).status_code == 201


async def test_clients_and_tenants_have_keys_of_their_own(gateway: Gateway, http: httpx2.AsyncClient, caller: Caller) -> None:
    once = key()
    first = await caller.send(once, {"text": "one"})
    other = await Caller(http, await gateway.bearer()).send(once, {"text": "two"})
    assert (first.status_code, other.status_code) == (201, 201)
    assert first.json()["id"] != other.json()["id"]


async def test_a_denial_is_kept_and_other_refusals_are_not(gateway: Gateway, caller: Caller) -> None:
    once = key()
    before = len(gateway.work.done)
    first, again = await caller.send(once, {"do": "deny"}), await caller.send(once, {"do": "deny"})
    assert problem_type(first) == problem_type(again) == (403, "denied")
    assert first.json()["reasons"] == again.json()["reasons"] == [{"checker": "policy", "code": "no"}]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(gateway.work.done) == before + 1
    for do, expected in (("refuse", (404, "not-found")), ("crash", (500, "internal-error"))):
        once = key()
        before = len(gateway.work.done)
        for _ in range(2):
            assert problem_type(await caller.send(once, {"do": do})) == expected
        first, again = gateway.work.done[before:]
        assert first == again


async def test_while_it_is_worked_on_a_repeat_is_told_to_wait(gateway: Gateway, caller: Caller) -> None:
    once = key()
    gateway.work.began.clear()
    gateway.work.may_end.clear()
    running = asyncio.create_task(caller.send(once, {"do": "wait"}))
    await gateway.work.began.wait()
    second = await caller.send(once, {"do": "wait"})
    assert problem_type(second) == (409, "request-in-progress")
    assert second.headers["Retry-After"] == "1"
    assert problem_type(await caller.send(once, {"do": "succeed"})) == (422, "idempotency-key-reused")
    gateway.work.may_end.set()
    first = await running
    assert (await caller.send(once, {"do": "wait"})).json()["id"] == first.json()["id"]
    assert gateway.work.done.count(first.json()["id"]) == 1


async def test_twenty_at_once_are_worked_on_once(gateway: Gateway, caller: Caller) -> None:
    once = key()
    before = len(gateway.work.done)
    answers = await asyncio.gather(*(caller.send(once, {"text": "many"}) for _ in range(20)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 201}) == 1
    assert len(gateway.work.done) == before + 1


async def test_long_work_keeps_its_lease(gateway: Gateway, http: httpx2.AsyncClient) -> None:
    client = await gateway.client()
    caller = Caller(http, {"Authorization": f"Bearer {gateway.token(client)}"})
    gateway.work.began.clear()
    gateway.work.may_end.clear()
    running = asyncio.create_task(caller.send(key(), {"do": "wait"}))
    await gateway.work.began.wait()
    leases: set[Any] = set()
    async with asyncio.timeout(20):
        while len(leases) < 2:
            async with tenant_transaction(gateway.pool, client.tenant_id) as connection:
                leases.add(await connection.fetchval("SELECT lease_until FROM idempotency_keys"))
            await asyncio.sleep(0.2)
    gateway.work.may_end.set()
    assert (await running).status_code == 201
    assert max(leases) - min(leases) >= timedelta(seconds=2)
