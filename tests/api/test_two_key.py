"""Two-key approvals over HTTP: two different people, exactly what they saw, once."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from browser import Person, activated, token_of
from live import Caller, Live
from nothing_written import assert_problem

from adapters.postgres.connection import tenant_transaction
from adapters.postgres.two_key import PostgresTwoKey, consume
from domain.actors import Actor
from domain.errors import Forbidden
from domain.names import Scope, TwoKeyAction
from domain.two_key import TwoKeyApprovalInput
from runtime.ids import new_uuid

DIGEST = "ab" * 32
WANTED = {"action": "killswitch.release", "resource": "ks_1", "digest": DIGEST}
ACT = (TwoKeyAction.KILLSWITCH_RELEASE, "ks_1", DIGEST)


async def user(product: Live, caller: Caller, name: str) -> tuple[Person, str]:
    """Somebody with the role approver, logged in."""
    made = await caller.post("/v1/users", {"name": name, "display_name": name, "roles": ["approver"]})
    person = await activated(product.url, made.json(), caller.tenant)
    return person, await token_of(product.url, person)


async def proposed(caller: Caller, **changes: Any) -> str:
    answer = await caller.post("/v1/approvals", WANTED | changes)
    assert answer.status_code == 201, answer.text
    return answer.json()["approval_id"]


async def approve(product: Live, token: str, approval_id: str, digest: str = DIGEST) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": str(uuid4())}
    async with httpx2.AsyncClient(base_url=product.url, trust_env=False, timeout=60) as http:
        return await http.post(f"/v1/approvals/{approval_id}/approve", json={"digest": digest}, headers=headers)


async def consumed(product: Live, tenant: str, act: tuple[TwoKeyAction, str, str] = ACT) -> tuple[str, str]:
    async with tenant_transaction(product.pool, tenant) as connection:
        return await consume(connection, tenant, *act)


async def test_an_attempt_that_died_after_it_approved_is_repeated_without_harm(product: Live, caller: Caller) -> None:
    (ada, _), (bob, _) = [await user(product, caller, name) for name in ("ada", "bob")]
    approval_id, store = await proposed(caller), PostgresTwoKey(product.pool)
    for person in (ada, bob):
        actor = Actor(
            tenant_id=caller.tenant, subject=person.user_id, client_id="soma-cli", scopes=(), jti="j", amr=("pwd", "mfa")
        )
        approval = TwoKeyApprovalInput(change_id=new_uuid(), approval_id=approval_id, actor=actor, digest=DIGEST)
        for _ in range(3):
            await store.approve(approval)
    view = (await caller.get(f"/v1/approvals/{approval_id}")).json()
    assert (view["state"], [each["user_id"] for each in view["approvals"]]) == ("approved", [ada.user_id, bob.user_id])
    events = (await caller.get("/v1/events?topic=identity.events")).json()["events"]
    assert [event["type"] for event in events].count("somagent.two_key.approved.v1") == 2


async def failing_act(product: Live, tenant: str) -> None:
    async with tenant_transaction(product.pool, tenant) as connection:
        await consume(connection, tenant, *ACT)
        raise ZeroDivisionError


async def test_two_people_approve_and_it_is_used_once(product: Live, caller: Caller) -> None:
    (ada, first), (bob, second), (_, third) = [await user(product, caller, name) for name in ("ada", "bob", "carol")]
    approval_id = await proposed(caller)
    one = await approve(product, first, approval_id)
    assert (one.status_code, one.json()["state"]) == (200, "open")
    with pytest.raises(Forbidden):
        await consumed(product, caller.tenant)
    assert_problem(await approve(product, first, approval_id), 409, "conflict")
    two = await approve(product, second, approval_id)
    assert (two.json()["state"], [each["user_id"] for each in two.json()["approvals"]]) == (
        "approved",
        [ada.user_id, bob.user_id],
    )
    assert_problem(await approve(product, third, approval_id), 409, "conflict")
    other = (ACT[0], ACT[1], "cd" * 32), (ACT[0], "ks_2", DIGEST), (TwoKeyAction.POLICY_OVERRIDE, ACT[1], DIGEST)
    for act in other:
        with pytest.raises(Forbidden):
            await consumed(product, caller.tenant, act)
    # An act that fails uses nothing up.
    with pytest.raises(ZeroDivisionError):
        await failing_act(product, caller.tenant)
    results = await asyncio.gather(*(consumed(product, caller.tenant) for _ in range(8)), return_exceptions=True)
    assert [result for result in results if not isinstance(result, Forbidden)] == [(ada.user_id, bob.user_id)]
    assert (await caller.get(f"/v1/approvals/{approval_id}")).json()["state"] == "consumed"
    events = (await caller.get(f"/v1/events?topic=identity.events&subject={approval_id}")).json()["events"]
    assert [event["type"].split(".")[2] for event in events if event["subject"] == approval_id] == [
        *("proposed", "approved", "approved", "consumed")
    ]


async def test_the_same_person_counts_once_however_often(product: Live, caller: Caller) -> None:
    person, token = await user(product, caller, "ada")
    approval_id = await proposed(caller)
    minted, _ = product.services.tokens.mint(
        tenant_id=caller.tenant,
        subject=person.user_id,
        client_id="soma-cli",
        scopes=("approval:write",),
        constitution_hash=None,
        claims={"amr": ["pwd", "otp", "mfa"]},
    )
    answers = await asyncio.gather(*(approve(product, (token, minted)[n % 2], approval_id) for n in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 19
    assert (await caller.get(f"/v1/approvals/{approval_id}")).json()["state"] == "open"
    with pytest.raises(Forbidden):
        await consumed(product, caller.tenant)


async def test_only_a_person_who_acts_themself_approves(product: Live, caller: Caller) -> None:
    person, token = await user(product, caller, "ada")
    approval_id = await proposed(caller)
    values = {"tenant_id": caller.tenant, "scopes": ("approval:write",), "constitution_hash": None}
    mint = product.services.tokens.mint
    single, _ = mint(**values, subject=person.user_id, client_id="soma-cli", claims={"amr": ["pwd"]})
    # Of a client that acts for the person, or that was only handed the person's name.
    own, _ = mint(**values, subject=person.user_id, client_id=caller.client.client_id)
    client, _ = mint(**values, subject="cli_x", client_id=caller.client.client_id, claims={"amr": ["mfa"]})
    for bearer in (caller.headers["Authorization"].removeprefix("Bearer "), single, own, client):
        assert_problem(await approve(product, bearer, approval_id), 403, "forbidden")
    key = await caller.post("/v1/api-keys", {"name": "k", "scopes": ["approval:write"]})
    assert_problem(await approve(product, key.json()["key"], approval_id), 403, "forbidden")
    assert (await caller.get(f"/v1/approvals/{approval_id}")).json()["approvals"] == []
    assert_problem(await approve(product, token, approval_id, "cd" * 32), 409, "conflict")
    assert (await approve(product, token, approval_id)).status_code == 200


async def test_what_is_withdrawn_expired_or_approved_by_who_is_gone_is_not_used(product: Live, caller: Caller) -> None:
    (ada, first), (_, second) = [await user(product, caller, name) for name in ("ada", "bob")]
    withdrawn, expired, gone = [await proposed(caller) for _ in range(3)]
    for approval_id in (withdrawn, expired, gone):
        for token in (first, second):
            assert (await approve(product, token, approval_id)).status_code == 200
    assert (await caller.post(f"/v1/approvals/{withdrawn}/withdraw")).json()["state"] == "withdrawn"
    assert (await caller.post(f"/v1/approvals/{withdrawn}/withdraw")).status_code == 200
    async with tenant_transaction(product.pool, caller.tenant) as connection:
        await connection.execute("UPDATE two_key_requests SET expires_at = clock_timestamp() WHERE approval_id = $1", expired)
    assert (await caller.delete(f"/v1/users/{ada.user_id}")).status_code == 204
    with pytest.raises(Forbidden):
        await consumed(product, caller.tenant)
    states = {each["approval_id"]: each["state"] for each in (await caller.get("/v1/approvals")).json()["approvals"]}
    assert (states[withdrawn], states[expired]) == ("withdrawn", "expired")
    for approval_id in (withdrawn, expired):
        assert_problem(await approve(product, second, approval_id), 409, "conflict")


@pytest.mark.parametrize(
    "changes",
    [
        {"action": "everything"},
        {"resource": "a' OR 1=1"},
        {"resource": ""},
        {"digest": "AB" * 32},
        {"digest": "x"},
        {"expires_in_seconds": 59},
        {"expires_in_seconds": 86_401},
        {"approvals": 2},
    ],
)
async def test_a_bad_body_makes_nothing(caller: Caller, changes: dict[str, Any]) -> None:
    assert_problem(await caller.post("/v1/approvals", WANTED | changes), 400, "invalid-request")
    assert (await caller.get("/v1/approvals")).json()["approvals"] == []


async def test_it_takes_its_scope_and_another_tenants_is_unknown(product: Live, caller: Caller) -> None:
    approval_id = await proposed(caller)
    async with product.caller(Scope.APPROVAL_READ) as reader:
        assert (await reader.get(f"/v1/approvals/{approval_id}")).status_code == 404
        assert (await reader.post("/v1/approvals", WANTED)).status_code == 403
        assert (await reader.get("/v1/approvals/%00")).status_code == 404
