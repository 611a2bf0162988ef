"""Budgets of delegated tokens: set before the token is given, spent by all that is delegated from it, changed by none of them."""

from __future__ import annotations

import uuid
from typing import Any

from delegating import claims_of, delegated, token_of
from live import Caller, Live

ASKED = {"prompt": "What is a library?", "max_output_tokens": 64}


async def of_token(caller: Caller, token: str) -> dict[str, Any]:
    """The one budget of that token."""
    found = (await caller.get(f"/v1/budgets?scope=delegation&scope_id={claims_of(token)['jti']}")).json()["budgets"]
    (budget,) = found
    return budget


def acting(caller: Caller, token: str) -> Caller:
    return Caller(caller.http, caller.client, token)


async def test_calls_count_against_the_budgets_of_the_whole_chain(product: Live, caller: Caller) -> None:
    async with product.caller(tenant=caller.tenant) as agent:
        parent = await delegated(caller, token_of(caller), budget_cap="100000")
        child = await delegated(agent, parent, budget_cap="50000", budget_unit="tokens")
        sibling = await delegated(agent, token_of(caller), budget_cap="70000")
        grandchild = await delegated(caller, child)
        assert [(await of_token(caller, token))["cap"] for token in (parent, child, sibling)] == [100_000, 50_000, 70_000]
        used = 0
        for token in (parent, child, grandchild):
            answer = await acting(caller, token).post("/v1/slm/complete", ASKED)
            assert answer.status_code == 200, answer.text
            usage = answer.json()["usage"]
            used += usage["input_tokens"] + usage["output_tokens"]
            if token == parent:
                of_parent = used
        settled = [(await of_token(caller, token))["settled"] for token in (parent, child, sibling)]
        assert settled == [used, used - of_parent, 0]
        assert used > of_parent > 0


async def test_a_token_without_room_is_refused_and_its_parent_is_not(caller: Caller) -> None:
    parent = await delegated(caller, token_of(caller), budget_cap="100000")
    child = await delegated(caller, parent, budget_cap="1")
    # A cap above the parent's gives no more than the parent has.
    below_nothing = await delegated(caller, child, budget_cap="100000")
    for token in (child, below_nothing):
        answer = await acting(caller, token).post("/v1/slm/complete", ASKED)
        assert (answer.status_code, answer.json()["type"].rsplit("/", 1)[-1]) == (402, "budget-exhausted"), answer.text
    assert (await acting(caller, parent).post("/v1/slm/complete", ASKED)).status_code == 200
    assert (await of_token(caller, child))["settled"] == 0
    events = (await caller.get("/v1/events?topic=budget.events")).json()["events"]
    assert [event["data"]["scope"] for event in events if event["type"] == "somagent.budget.exhausted.v1"] == ["delegation"]


async def test_a_sessions_turns_count_too(caller: Caller) -> None:
    token = await delegated(caller, token_of(caller), budget_cap="10000000")
    started = await acting(caller, token).start("What is a library?")
    assert started.status_code == 201, started.text
    first = (await of_token(caller, token))["settled"]
    assert first > 0
    bound = acting(caller, started.json()["capability"]["access_token"])
    sent = await bound.send(started.json()["session_id"], "And an archive?")
    assert sent.status_code in (200, 202), sent.text
    assert (await of_token(caller, token))["settled"] > first


async def test_nobody_raises_the_budget_it_spends_from(caller: Caller) -> None:
    parent = await delegated(caller, token_of(caller), budget_cap="5")
    child = await delegated(caller, parent)
    budget = await of_token(caller, parent)
    for token in (parent, child):
        body = {"scope": "delegation", "scope_id": claims_of(parent)["jti"], "cap": 1_000}
        assert (await acting(caller, token).post("/v1/budgets", body)).status_code == 403
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": str(uuid.uuid4())}
        changed = await caller.http.patch(f"/v1/budgets/{budget['budget_id']}", json={"cap": 1_000}, headers=headers)
        assert changed.status_code == 403
    assert (await of_token(caller, parent))["cap"] == 5
    raised = await caller.post("/v1/budgets", {"scope": "delegation", "scope_id": claims_of(parent)["jti"], "cap": 6})
    assert (raised.status_code, raised.json()["cap"]) == (200, 6)


async def test_money_is_a_unit_too(caller: Caller) -> None:
    token = await delegated(caller, token_of(caller), budget_cap="0", budget_unit="EUR")
    budget = await of_token(caller, token)
    assert (budget["unit"], budget["cap"], budget["scope"]) == ("EUR", 0, "delegation")
