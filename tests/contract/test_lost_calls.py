"""Attempts nobody ended, on a real Postgres: the sweep bills them at their bound, a vendor's report at what they came to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ledger_rows import Tenant

from adapters.postgres.connection import Pool, tenant_transaction
from adapters.postgres.lost_calls import PostgresLedger
from adapters.postgres.usage import PostgresUsage
from domain.budgets import Settlement
from domain.models import CallOutcome
from domain.reconciling import Attempt, VendorUsage
from domain.usage import UsageBy, UsageQuery, UsageRow

USD: dict[str, Any] = {"currency": "USD", "price_snapshot": "p1"}


@pytest.fixture
def tenant(pool: Pool) -> Tenant:
    return Tenant(pool)


@pytest.fixture
def ledger(pool: Pool) -> PostgresLedger:
    return PostgresLedger(pool)


async def let_expire(tenant: Tenant) -> None:
    async with tenant_transaction(tenant.pool, tenant.id) as connection:
        await connection.execute(
            "UPDATE reservations SET expires_at = now() - interval '1 second' WHERE tenant_id = $1 AND state = 'reserved'",
            tenant.id,
        )


async def of(tenant: Tenant, ledger: PostgresLedger, step: str) -> Attempt:
    (found,) = await ledger.attempts(tenant.id, "vendor", [f"{tenant.record().workflow_id}/{step}"], None, None)
    return found


def line(attempt: Attempt, tokens: int, micros: int | None = None) -> VendorUsage:
    return VendorUsage(idempotency_key=attempt.idempotency_key, input_tokens=tokens - 1, output_tokens=1, micros=micros)


async def test_the_sweep_bills_what_dead_workers_held_and_nothing_else(tenant: Tenant, ledger: PostgresLedger) -> None:
    budget = await tenant.budget(1000)
    for step in ("a", "b", "c"):
        await tenant.begin(60, step)
    await tenant.complete(10, "c")
    await let_expire(tenant)
    await tenant.begin(100, "d")
    assert tenant.id in await ledger.overdue_tenants(10_000)
    assert await ledger.sweep(tenant.id, 1) == 1
    assert await ledger.sweep(tenant.id, 10) == 1
    assert await ledger.sweep(tenant.id, 10) == 0
    assert tenant.id not in await ledger.overdue_tenants(10_000)
    assert await tenant.books(budget) == (130, 100, 0, 0)
    assert [state for _, _, state in await tenant.states()] == ["unknown", "unknown", "settled", "reserved"]
    told = [(data["step_key"], data["outcome"], data["settlement"]) for _, data in await tenant.told("slm_call")]
    assert told == [("c", "completed", "settled"), ("a", "unknown", "unknown"), ("b", "unknown", "unknown")]


async def test_an_answer_that_comes_after_the_sweep_returns_the_difference(tenant: Tenant, ledger: PostgresLedger) -> None:
    budget = await tenant.budget(1000)
    await tenant.begin(60)
    await let_expire(tenant)
    assert await ledger.sweep(tenant.id, 10) == 1
    await tenant.complete(10)
    assert await tenant.books(budget) == (10, 0, 0, 0)
    assert await tenant.states() == [("s", 1, "settled")]


async def test_no_tenant_but_the_platform_sees_whose_are_overdue(tenant: Tenant, pool: Pool) -> None:
    await tenant.begin(60)
    await let_expire(tenant)
    async with tenant_transaction(pool, "somebody-else") as connection:
        assert await connection.fetch("SELECT * FROM reservations WHERE tenant_id = $1", tenant.id) == []


async def test_a_report_settles_what_was_unknown_and_releases_what_it_does_not_list(
    tenant: Tenant, ledger: PostgresLedger
) -> None:
    tokens, money = await tenant.budget(1000), await tenant.budget(1000, "USD")
    for step in ("a", "b", "c"):
        await tenant.begin(60, step, micros=200, **USD)
        await tenant.end(Settlement.UNKNOWN, step)
    a, b, c = [await of(tenant, ledger, step) for step in ("a", "b", "c")]
    assert await ledger.reconcile(tenant.id, a, line(a, 20, 70))
    assert await ledger.reconcile(tenant.id, b, line(b, 30))
    assert await ledger.reconcile(tenant.id, c, None)
    assert (await tenant.books(tokens), await tenant.books(money)) == ((50, 0, 0, 0), (270, 0, 0, 0))
    for attempt in (a, b, c):
        assert not await ledger.reconcile(tenant.id, attempt, None)
    assert not await ledger.reconcile(tenant.id, a, line(a, 21, 70))
    assert [state for _, _, state in await tenant.states()] == ["settled", "settled", "released"]
    last = [(data["step_key"], data["settlement"], data["cost_micros"]) for _, data in await tenant.told("slm_call")][3:]
    assert last == [("a", "settled", 70), ("b", "settled", 200), ("c", "released", None)]
    rows = await tenant.rows(
        "SELECT input_tokens, output_tokens, cost_micros FROM slm_calls WHERE tenant_id = $1 ORDER BY step_key"
    )
    assert [tuple(row.values()) for row in rows] == [(19, 1, 70), (29, 1, 200), (0, 0, None)]


async def test_a_report_may_bill_what_was_held_for_free_and_more_than_the_bound(tenant: Tenant, ledger: PostgresLedger) -> None:
    budget = await tenant.budget(100)
    await tenant.begin(60, "a")
    await tenant.end(Settlement.RELEASED, "a")
    await tenant.begin(60, "b")
    await tenant.end(Settlement.UNKNOWN, "b")
    a, b = await of(tenant, ledger, "a"), await of(tenant, ledger, "b")
    assert await ledger.reconcile(tenant.id, b, line(b, 70))
    assert await ledger.reconcile(tenant.id, a, line(a, 50))
    assert await tenant.books(budget) == (100, 0, 10, 20)
    (block,) = await tenant.budgets.blocks(tenant.id, reviewed=False)
    assert (block.step_key, block.overrun_tokens) == ("b", 10)


async def test_attempts_are_found_by_key_or_by_time(tenant: Tenant, ledger: PostgresLedger) -> None:
    await tenant.begin(60, "a")
    await tenant.begin(60, "b")
    now = datetime.now(UTC)
    found = await ledger.attempts(tenant.id, "vendor", [], now - timedelta(minutes=1), now + timedelta(minutes=1))
    assert sorted(each.step_key for each in found) == ["a", "b"]
    assert await ledger.attempts(tenant.id, "vendor", [], now + timedelta(minutes=1), now + timedelta(minutes=2)) == ()
    assert await ledger.attempts(tenant.id, "other", [], now - timedelta(minutes=1), now + timedelta(minutes=1)) == ()


async def test_usage_is_summed_by_what_is_asked_for(tenant: Tenant, pool: Pool) -> None:
    usage = PostgresUsage(pool)

    async def call(step: str, tokens: int, **more: Any) -> None:
        begun = tenant.record(step, **more)
        await tenant.calls.begin(begun, tenant.bound(100, micros=500, **USD))
        done = {"outcome": CallOutcome.COMPLETED, "input_tokens": tokens, "output_tokens": 1, "cost_micros": tokens, **USD}
        await tenant.calls.end(begun.model_copy(update=done | {"settlement": Settlement.SETTLED}))

    await call("a", 10, subject="alice", lane="batch")
    await call("b", 120, subject="bob", model="n")
    await call("c", 30, subject="alice")
    await tenant.begin(100, "lost", micros=500, **USD)
    await tenant.end(Settlement.UNKNOWN, "lost", input_tokens=9)
    await tenant.begin(100, "runs")
    now = datetime.now(UTC)

    async def asked(*by: UsageBy, since: datetime = now - timedelta(hours=1)) -> list[UsageRow]:
        return list(await usage.usage(tenant.id, UsageQuery(since=since, until=since + timedelta(hours=2), by=by)))

    (all_of,) = await asked()
    assert all_of == UsageRow(
        group={},
        calls=4,
        unknown=1,
        input_tokens=160,
        output_tokens=3,
        unknown_tokens=100,
        overrun_tokens=21,
        cost_micros=660,
        currency="USD",
    )
    by_user = {
        (row.group["user"], row.group["model"]): (row.calls, row.input_tokens) for row in await asked(UsageBy.USER, UsageBy.MODEL)
    }
    assert by_user == {("alice", "vendor/m"): (2, 40), ("bob", "vendor/n"): (1, 120), (None, "vendor/m"): (1, 0)}
    assert {row.group["lane"]: row.calls for row in await asked(UsageBy.LANE)} == {"batch": 1, "interactive": 3}
    assert [row.group["day"] for row in await asked(UsageBy.DAY)] == sorted({f"{now:%Y-%m-%d}"})
    assert [row.group["session"] for row in await asked(UsageBy.SESSION)] == [tenant.record().session_id]
    assert await asked(since=now + timedelta(hours=1)) == []


async def test_what_no_cap_had_room_for_shrinks_with_what_is_billed(tenant: Tenant, ledger: PostgresLedger) -> None:
    budget = await tenant.budget(100)
    await tenant.begin(60, "a")
    await tenant.end(Settlement.RELEASED, "a")
    await tenant.begin(80, "b")
    await tenant.complete(1, "a", settlement=Settlement.UNKNOWN)
    assert await tenant.books(budget) == (20, 80, 0, 40)
    a = await of(tenant, ledger, "a")
    assert await ledger.reconcile(tenant.id, a, line(a, 30))
    assert await tenant.books(budget) == (20, 80, 0, 10)


async def test_a_vendors_figures_stand_when_the_answer_comes_after_all(tenant: Tenant, ledger: PostgresLedger) -> None:
    budget = await tenant.budget(100)
    await tenant.begin(60)
    await tenant.end(Settlement.UNKNOWN)
    attempt = await of(tenant, ledger, "s")
    assert await ledger.reconcile(tenant.id, attempt, line(attempt, 20))
    await tenant.complete(25)
    assert await tenant.books(budget) == (20, 0, 0, 0)
    assert await tenant.states() == [("s", 1, "settled")]
