"""The ledger on a real Postgres: bounds are held before a call, what was used is billed after it, and no cap is crossed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from ledger_rows import SESSION, Tenant, answer

from adapters.postgres.connection import Pool, tenant_transaction
from domain.budgets import BudgetKey, BudgetScope, ReviewModel, Settlement
from domain.errors import BudgetExhausted, Conflict, ModelBlocked, NotFound, PriceUnknown
from domain.models import CallOutcome

USD: dict[str, Any] = {"currency": "USD", "price_snapshot": "p1"}


@pytest.fixture
def tenant(pool: Pool) -> Tenant:
    return Tenant(pool)


async def test_a_bound_is_held_then_what_was_used_is_settled_and_the_rest_returns(tenant: Tenant) -> None:
    budget = await tenant.budget(1000)
    await tenant.begin(300)
    assert await tenant.books(budget) == (0, 300, 0, 0)
    kept = await tenant.complete(120)
    assert await tenant.books(budget) == (120, 0, 0, 0)
    assert await tenant.begin(300, attempt=2) == kept
    assert await tenant.books(budget) == (120, 0, 0, 0)


async def test_every_budget_of_the_chain_holds_it_or_none_does(tenant: Tenant) -> None:
    wide, narrow = await tenant.budget(1000), await tenant.budget(100, key=tenant.session_key)
    money = await tenant.budget(1000, "USD")
    chain = tenant.bound(80, tenant.tenant_key, tenant.session_key, micros=500, **USD)
    await tenant.calls.begin(tenant.record("a"), chain)
    assert [await tenant.books(each) for each in (wide, narrow, money)] == [(0, 80, 0, 0), (0, 80, 0, 0), (0, 500, 0, 0)]
    with pytest.raises(BudgetExhausted) as refused:
        await tenant.calls.begin(tenant.record("b"), chain)
    assert refused.value.members == {
        "budget_id": narrow.budget_id,
        "scope": "session",
        "scope_id": SESSION,
        "unit": "tokens",
        "left": 20,
        "wanted": 80,
    }
    assert [await tenant.books(each) for each in (wide, narrow, money)] == [(0, 80, 0, 0), (0, 80, 0, 0), (0, 500, 0, 0)]
    assert await tenant.states() == [("a", 1, "reserved")]
    assert await tenant.rows("SELECT step_key FROM slm_calls WHERE tenant_id = $1") == [{"step_key": "a"}]
    await tenant.complete(50, "a", cost_micros=200, **USD)
    assert [await tenant.books(each) for each in (wide, narrow, money)] == [(50, 0, 0, 0), (50, 0, 0, 0), (200, 0, 0, 0)]


async def test_exhaustion_and_the_alert_are_told_once_for_each_cap(tenant: Tenant) -> None:
    budget = await tenant.budget(100)
    await tenant.begin(79, "a")
    await tenant.begin(1, "b")
    await tenant.begin(1, "c")
    for step in ("d", "e"):
        with pytest.raises(BudgetExhausted):
            await tenant.begin(20, step)
    told = [(kind, data.get("settled"), data.get("reserved"), data.get("wanted")) for kind, data in await tenant.told()]
    assert told == [("set", None, None, None), ("alerted", 0, 80, None), ("exhausted", 0, 81, 20)]
    assert (await tenant.budgets.get(tenant.id, budget.budget_id)).exhausted
    await tenant.budget(200)
    assert not (await tenant.budgets.get(tenant.id, budget.budget_id)).exhausted
    await tenant.begin(100, "d")
    with pytest.raises(BudgetExhausted):
        await tenant.begin(20, "e")
    assert [kind for kind, _ in await tenant.told()] == ["set", "alerted", "exhausted"] * 2


async def test_a_cap_is_not_lowered_below_what_is_bound(tenant: Tenant) -> None:
    budget = await tenant.budget(100)
    await tenant.begin(40, "a")
    await tenant.complete(30, "a")
    await tenant.begin(25, "b")
    with pytest.raises(Conflict, match="55 that are bound: 30 settled and 25 reserved") as refused:
        await tenant.budget(54)
    assert refused.value.members == {"settled": 30, "reserved": 25}
    lowered = await tenant.budget(55)
    assert (lowered.budget_id, lowered.cap, lowered.left) == (budget.budget_id, 55, 0)


async def test_money_needs_a_price_unless_such_calls_may_go_uncounted(tenant: Tenant) -> None:
    tokens, money = await tenant.budget(1000), await tenant.budget(1000, "EUR")
    for unknown in ({}, {"micros": 5} | USD):
        with pytest.raises(PriceUnknown, match="EUR"):
            await tenant.begin(10, **unknown)
    assert await tenant.books(tokens) == (0, 0, 0, 0)
    await tenant.begin(10, unpriced_counts=True)
    await tenant.complete(9, cost_micros=3, **USD)
    assert (await tenant.books(tokens), await tenant.books(money)) == ((9, 0, 0, 0), (0, 0, 0, 0))


async def test_a_cost_nobody_can_name_is_billed_at_its_bound(tenant: Tenant) -> None:
    tokens, money = await tenant.budget(1000), await tenant.budget(1000, "USD")
    await tenant.begin(10, micros=400, **USD)
    kept = await tenant.complete(9)
    assert (await tenant.books(tokens), await tenant.books(money)) == ((9, 0, 0, 0), (400, 0, 0, 0))
    assert (kept.cost_micros, kept.currency, kept.price_snapshot) == (400, "USD", "p1")


@pytest.mark.parametrize(
    ("settlement", "state", "settled"),
    [(Settlement.RELEASED, "released", 0), (Settlement.UNKNOWN, "unknown", 60), (Settlement.SETTLED, "settled", 20)],
)
async def test_an_attempt_that_fails_owes_nothing_its_bound_or_what_it_used(
    tenant: Tenant, settlement: Settlement, state: str, settled: int
) -> None:
    budget = await tenant.budget(100)
    await tenant.begin(60)
    for _ in range(2):
        await tenant.end(settlement, input_tokens=15, output_tokens=5)
        await tenant.end(Settlement.RELEASED)
    assert await tenant.books(budget) == (settled, 0, 0, 0)
    assert await tenant.states() == [("s", 1, state)]
    assert [data["settlement"] for _, data in await tenant.told("slm_call")] == [state]


async def test_an_end_that_does_not_say_is_billed_at_its_bound(tenant: Tenant) -> None:
    budget = await tenant.budget(100)
    await tenant.begin(60)
    await tenant.calls.end(tenant.record(outcome=CallOutcome.FAILED))
    assert await tenant.books(budget) == (60, 0, 0, 0)


async def test_an_answer_without_usage_is_kept_and_billed_at_its_bound(tenant: Tenant) -> None:
    tokens, money = await tenant.budget(100), await tenant.budget(900, "USD")
    await tenant.begin(60, micros=700, **USD)
    kept = await tenant.complete(12, settlement=Settlement.UNKNOWN, cost_micros=80, **USD)
    assert (await tenant.books(tokens), await tenant.books(money)) == ((60, 0, 0, 0), (700, 0, 0, 0))
    assert (kept.cost_micros, await tenant.states()) == (700, [("s", 1, "unknown")])
    assert await tenant.begin(60, attempt=2) == kept


async def test_a_lost_attempt_is_billed_at_its_bound_and_its_late_answer_returns_the_difference(tenant: Tenant) -> None:
    tokens, money = await tenant.budget(200), await tenant.budget(2000, "USD")
    await tenant.begin(60, micros=700, **USD)
    await tenant.begin(60, attempt=2, micros=700, **USD)
    assert (await tenant.books(tokens), await tenant.books(money)) == ((60, 60, 0, 0), (700, 700, 0, 0))
    assert await tenant.states() == [("s", 1, "unknown"), ("s", 2, "reserved")]
    ((_, lost),) = await tenant.told("slm_call")
    assert (lost["attempt"], lost["outcome"], lost["settlement"], lost["cost_micros"]) == (1, "unknown", "unknown", 700)
    await tenant.complete(25, cost_micros=300, **USD)
    assert (await tenant.books(tokens), await tenant.books(money)) == ((25, 60, 0, 0), (300, 700, 0, 0))
    await tenant.complete(30, attempt=2, cost_micros=350, **USD)
    assert (await tenant.books(tokens), await tenant.books(money)) == ((55, 0, 0, 0), (650, 0, 0, 0))
    assert await tenant.states() == [("s", 1, "settled"), ("s", 2, "settled")]


async def test_an_answer_after_a_release_is_taken_from_what_is_left(tenant: Tenant) -> None:
    budget = await tenant.budget(100)
    await tenant.begin(60, "a")
    await tenant.end(Settlement.RELEASED, "a")
    await tenant.begin(80, "b")
    await tenant.complete(50, "a")
    assert await tenant.books(budget) == (20, 80, 0, 30)
    await tenant.complete(80, "b")
    assert await tenant.books(budget) == (100, 0, 0, 30)


async def test_a_delivery_that_comes_again_changes_nothing(tenant: Tenant) -> None:
    budget = await tenant.budget(100)
    await tenant.begin(60)
    kept = await tenant.complete(25)
    for _ in range(2):
        assert await tenant.complete(59) == kept
        await tenant.end(Settlement.UNKNOWN)
    assert await tenant.books(budget) == (25, 0, 0, 0)
    assert len(await tenant.told("slm_call")) == 1


async def test_an_overrun_is_recorded_in_full_and_taken_from_what_is_left(tenant: Tenant) -> None:
    budget, narrow = await tenant.budget(1000), await tenant.budget(100, key=tenant.session_key)
    chain = tenant.bound(60, tenant.tenant_key, tenant.session_key)
    await tenant.calls.begin(tenant.record(), chain)
    kept = await tenant.complete(160)
    assert kept.overrun_tokens == 100
    assert await tenant.books(budget) == (160, 0, 100, 0)
    assert await tenant.books(narrow) == (100, 0, 100, 60)
    told = [(data["scope"], data["overrun"], data["uncovered"]) for kind, data in await tenant.told() if kind == "overrun"]
    assert sorted(told) == [("session", 100, 60), ("tenant", 100, 0)]
    await tenant.complete(160)
    assert await tenant.books(narrow) == (100, 0, 100, 60)


async def test_an_overrun_takes_nothing_that_others_hold(tenant: Tenant) -> None:
    budget = await tenant.budget(100)
    await tenant.begin(50, "a")
    await tenant.begin(40, "b")
    await tenant.complete(75, "a")
    assert await tenant.books(budget) == (60, 40, 25, 15)


async def test_a_model_that_overran_is_refused_by_bounded_budgets_until_it_is_reviewed(tenant: Tenant) -> None:
    await tenant.budget(1000)
    await tenant.begin(60, "a")
    await tenant.begin(60, "b")
    await tenant.complete(61, "a")
    await tenant.complete(99, "b")
    with pytest.raises(ModelBlocked):
        await tenant.begin(60, "c")
    await tenant.calls.begin(tenant.record("d"), tenant.bound(60, BudgetKey(scope=BudgetScope.SESSION, scope_id="none")))
    await tenant.calls.begin(tenant.record("e", model="other"), tenant.bound(60))
    (block,) = await tenant.budgets.blocks(tenant.id, reviewed=False)
    assert (block.provider, block.model, block.step_key, block.overrun_tokens) == ("vendor", "m", "a", 1)
    review = ReviewModel(actor=tenant.actor, provider="vendor", model="m")
    await tenant.budgets.review(review)
    await tenant.budgets.review(review)
    assert len(await tenant.told("model")) == 1
    assert await tenant.budgets.blocks(tenant.id, reviewed=False) == ()
    (block,) = await tenant.budgets.blocks(tenant.id, reviewed=True)
    assert block.reviewed_by == "alice"
    await tenant.begin(60, "c")
    with pytest.raises(NotFound):
        await tenant.budgets.review(ReviewModel(actor=tenant.actor, provider="vendor", model="never"))


async def test_nobody_overruns_what_has_no_budget(tenant: Tenant) -> None:
    await tenant.begin(60, "a")
    assert (await tenant.complete(100, "a")).overrun_tokens == 40
    await tenant.budget(1000)
    await tenant.begin(60, "b")


async def test_attempt_numbers_that_come_again_lose_no_money(tenant: Tenant) -> None:
    budget = await tenant.budget(1000)
    await tenant.begin(10)
    await tenant.end(Settlement.SETTLED, input_tokens=7)
    await tenant.begin(20)
    await tenant.end(Settlement.RELEASED)
    await tenant.begin(40)
    await tenant.begin(80)
    await tenant.complete(5)
    assert await tenant.states() == [("s", -3, "unknown"), ("s", -2, "released"), ("s", -1, "settled"), ("s", 1, "settled")]
    assert await tenant.books(budget) == (52, 0, 0, 0)
    calls = await tenant.rows("SELECT attempt, settlement FROM slm_calls WHERE tenant_id = $1 ORDER BY attempt")
    assert [(row["attempt"], row["settlement"]) for row in calls] == [
        (-3, "unknown"),
        (-2, "released"),
        (-1, "settled"),
        (1, "settled"),
    ]


async def test_a_refusal_still_bills_the_attempt_that_was_lost(tenant: Tenant) -> None:
    budget = await tenant.budget(100)
    await tenant.begin(60)
    with pytest.raises(BudgetExhausted):
        await tenant.begin(60, attempt=2)
    assert await tenant.books(budget) == (60, 0, 0, 0)
    assert await tenant.states() == [("s", 1, "unknown")]


async def test_many_at_once_never_cross_the_cap(tenant: Tenant) -> None:
    budget = await tenant.budget(1000)
    results = await asyncio.gather(*(tenant.begin(90, f"s{n}") for n in range(40)), return_exceptions=True)
    assert sum(result is None for result in results) == 11
    assert all(isinstance(result, BudgetExhausted) for result in results if result is not None)
    assert await tenant.books(budget) == (0, 990, 0, 0)


async def test_the_same_attempt_begun_twice_at_once_is_billed_twice(tenant: Tenant) -> None:
    budget = await tenant.budget(1000)
    await asyncio.gather(*(tenant.begin(10) for _ in range(4)))
    assert await tenant.books(budget) == (30, 10, 0, 0)


async def test_the_constraint_is_the_last_word(tenant: Tenant) -> None:
    await tenant.budget(10)
    with pytest.raises(asyncpg.CheckViolationError, match="within_cap"):
        async with tenant_transaction(tenant.pool, tenant.id) as connection:
            await connection.execute("UPDATE budgets SET settled = 6, reserved = 5 WHERE tenant_id = $1", tenant.id)


async def test_a_row_of_the_journal_says_what_the_call_cost(tenant: Tenant) -> None:
    await tenant.budget(1000)
    begun = tenant.record(request_id="slm_" + "1" * 32, subject="alice", lane="batch", input_bytes=9, forecast_tokens=8)
    await tenant.calls.begin(begun, tenant.bound(10, micros=10, **USD))
    done = {"outcome": CallOutcome.COMPLETED, "input_tokens": 12, "first_token_ms": 3, "cost_micros": 11, "at": datetime.now(UTC)}
    kept = await tenant.calls.complete(begun.model_copy(update=done | USD), answer())
    assert (kept.cost_micros, kept.currency, kept.price_snapshot, kept.overrun_tokens) == (11, "USD", "p1", 2)
    (row,) = await tenant.rows("SELECT * FROM slm_calls WHERE tenant_id = $1")
    wanted = {
        "request_id": begun.request_id,
        "subject": "alice",
        "lane": "batch",
        "input_bytes": 9,
        "forecast_tokens": 8,
        "settlement": "settled",
        "cost_micros": 11,
        "currency": "USD",
        "price_snapshot": "p1",
        "overrun_tokens": 2,
        "first_token_ms": 3,
    }
    assert row | wanted == row
    ((_, told),) = await tenant.told("slm_call")
    assert {name: told[name] for name in wanted} == wanted
