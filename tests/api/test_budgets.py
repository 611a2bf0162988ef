"""Budgets, usage and the ledger's upkeep over HTTP, with workers on real servers."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attempts import SESSION, attempt, record
from live import Caller, Live, until

from adapters.postgres.connection import tenant_transaction
from domain.budgets import Settlement
from domain.names import Scope
from workers.schedules import LEDGER_SWEEP_SCHEDULE, ensure_schedules


async def patch(caller: Caller, path: str, body: object) -> Any:
    return await caller.http.patch(path, json=body, headers=caller.headers | {"Idempotency-Key": str(uuid.uuid4())})


async def budget(caller: Caller, cap: int, **body: Any) -> dict[str, Any]:
    answer = await caller.post("/v1/budgets", {"scope": "tenant", "cap": cap} | body)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


async def test_a_budget_is_set_read_listed_and_changed(caller: Caller) -> None:
    made = await caller.post("/v1/budgets", {"scope": "tenant", "unit": "USD", "cap": 5_000_000})
    assert made.status_code == 201, made.text
    body, path = made.json(), made.headers["Location"]
    assert (body["scope_id"], body["unit"], body["cap"], body["settled"]) == (caller.tenant, "USD", 5_000_000, 0)
    assert (await caller.get(path)).json() == body
    again = await caller.post("/v1/budgets", {"scope": "tenant", "unit": "USD", "cap": 6_000_000})
    assert (again.status_code, again.json()["budget_id"], again.json()["cap"]) == (200, body["budget_id"], 6_000_000)
    changed = await patch(caller, path, {"cap": 7_000_000})
    assert (changed.status_code, changed.json()["cap"]) == (200, 7_000_000)
    assert (await caller.get(path)).json() == changed.json()
    told = (await caller.get("/v1/events?topic=budget.events")).json()["events"]
    assert [(event["type"], event["data"]["cap"]) for event in told] == [
        ("somagent.budget.set.v1", cap) for cap in (5_000_000, 6_000_000, 7_000_000)
    ]


async def test_the_same_request_sets_once(caller: Caller) -> None:
    key, body = str(uuid.uuid4()), {"scope": "session", "scope_id": SESSION, "cap": 10}
    first, again = [await caller.post("/v1/budgets", body, key=key) for _ in range(2)]
    assert (first.status_code, again.status_code, again.json()) == (201, 201, first.json())
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (await caller.post("/v1/budgets", body | {"cap": 11}, key=key)).status_code == 422


async def test_the_list_pages_and_filters(caller: Caller) -> None:
    await budget(caller, 1)
    made = [await budget(caller, 1, scope="project", scope_id=f"p{number}") for number in range(3)]
    newest = [each["budget_id"] for each in reversed(made)]
    first = (await caller.get("/v1/budgets?scope=project&limit=2")).json()
    second = (await caller.get(f"/v1/budgets?scope=project&limit=2&after={first['next']}")).json()
    assert [each["budget_id"] for page in (first, second) for each in page["budgets"]] == newest
    assert second["next"] is None
    (one,) = (await caller.get("/v1/budgets?scope_id=p1")).json()["budgets"]
    assert one["budget_id"] == made[1]["budget_id"]
    assert len((await caller.get("/v1/budgets")).json()["budgets"]) == 4


async def test_a_cap_below_what_is_bound_is_a_conflict_that_says_how_much(product: Live, caller: Caller) -> None:
    made = await budget(caller, 200)
    await attempt(product, caller, "a", Settlement.SETTLED, input_tokens=30)
    await attempt(product, caller, "b", None)
    refused = await patch(caller, f"/v1/budgets/{made['budget_id']}", {"cap": 89})
    assert (refused.status_code, refused.json()["type"].rsplit("/", 1)[-1]) == (409, "conflict")
    assert "90 that are bound: 30 settled and 60 reserved" in refused.json()["detail"]
    assert (await budget(caller, 90))["cap"] == 90


async def test_tenants_and_scopes_are_apart(product: Live, caller: Caller) -> None:
    made = await budget(caller, 1)
    async with product.caller() as other:
        assert (await other.get(f"/v1/budgets/{made['budget_id']}")).status_code == 404
        assert (await patch(other, f"/v1/budgets/{made['budget_id']}", {"cap": 2})).status_code == 404
        assert (await other.get("/v1/budgets")).json()["budgets"] == []
        foreign = await other.post("/v1/budgets", {"scope": "tenant", "scope_id": caller.tenant, "cap": 1})
        assert foreign.status_code == 400
    async with product.caller(Scope.BUDGET_READ) as reader:
        assert (await reader.post("/v1/budgets", {"scope": "tenant", "cap": 1})).status_code == 403
        assert (await reader.get("/v1/budgets")).status_code == 200
        assert (await reader.get("/v1/usage")).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        {"scope": "tenant"},
        {"scope": "tenant", "cap": -1},
        {"scope": "tenant", "cap": 1.5},
        {"scope": "tenant", "cap": True},
        {"scope": "tenant", "cap": "7"},
        {"scope": "tenant", "cap": 2**53},
        {"scope": "tenant", "cap": 1, "unit": "dollars"},
        {"scope": "session", "cap": 1},
        {"scope": "session", "cap": 1, "scope_id": "a b"},
        {"scope": "everything", "cap": 1},
        {"scope": "tenant", "cap": 1, "more": 1},
    ],
)
async def test_nonsense_is_refused(caller: Caller, body: dict[str, Any]) -> None:
    answer = await caller.post("/v1/budgets", body)
    assert answer.status_code in (400, 422), answer.text
    assert (await caller.get("/v1/budgets")).json()["budgets"] == []


@pytest.mark.parametrize("cap", ["NaN", "Infinity", "-Infinity", "1e400"])
async def test_a_cap_is_a_finite_number(caller: Caller, cap: str) -> None:
    headers = caller.headers | {"Idempotency-Key": str(uuid.uuid4()), "Content-Type": "application/json"}
    answer = await caller.http.post("/v1/budgets", content=f'{{"scope": "tenant", "cap": {cap}}}', headers=headers)
    assert answer.status_code in (400, 422), answer.text


async def test_a_session_spends_its_budgets_and_usage_tells_it(caller: Caller) -> None:
    made = await budget(caller, 10_000_000)
    started = await caller.start("What is a library?")
    assert started.status_code == 201, started.text
    spent = (await caller.get(f"/v1/budgets/{made['budget_id']}")).json()
    assert spent["reserved"] == 0
    (row,) = (await caller.get("/v1/usage?by=session&by=user&by=lane")).json()["usage"]
    assert row["group"] == {"session": started.json()["session_id"], "user": caller.client.client_id, "lane": "interactive"}
    assert row["calls"] == 1
    assert row["input_tokens"] + row["output_tokens"] == spent["settled"] > 0
    (day,) = (await caller.get("/v1/usage?by=day")).json()["usage"]
    assert day["input_tokens"] == row["input_tokens"]


@pytest.mark.parametrize(
    "query",
    [
        "by=colour",
        "since=yesterday",
        "since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z",
        "since=2024-01-01T00:00:00Z&until=2026-01-01T00:00:00Z",
        "until=0001-01-01T00:00:00Z",
        "until=0001-01-01T00:00:00%2B14:00",
        "since=2026-01-01T00:00:00",
    ],
)
async def test_nonsense_about_usage_is_refused(caller: Caller, query: str) -> None:
    answer = await caller.get(f"/v1/usage?{query}")
    assert answer.status_code == 400, answer.text


async def test_a_model_that_overran_is_listed_until_it_is_reviewed(product: Live, caller: Caller) -> None:
    await budget(caller, 1000)
    await attempt(product, caller, "a", Settlement.SETTLED, input_tokens=75)
    (block,) = (await caller.get("/v1/slm/models/blocks")).json()["blocks"]
    assert (block["provider"], block["model"], block["overrun_tokens"]) == ("vendor", "m", 15)
    reviewed = await caller.post("/v1/slm/models/blocks/review", {"provider": "vendor", "model": "m"})
    assert (reviewed.status_code, reviewed.json()) == (200, {"blocks": []})
    (block,) = (await caller.get("/v1/slm/models/blocks?reviewed=true")).json()["blocks"]
    assert block["reviewed_by"] == caller.client.client_id
    none = await caller.post("/v1/slm/models/blocks/review", {"provider": "vendor", "model": "never"})
    assert none.status_code == 404


async def test_a_report_reconciles_what_was_unknown(product: Live, caller: Caller) -> None:
    made = await budget(caller, 1000)
    for step in ("billed", "not-billed"):
        await attempt(product, caller, step, Settlement.UNKNOWN)
    key, now = record(caller).workflow_id, datetime.now(UTC)
    report = {
        "provider": "vendor",
        "lines": [
            {"idempotency_key": f"{key}/billed", "input_tokens": 20, "output_tokens": 5},
            {"idempotency_key": "of/nobody", "input_tokens": 9, "output_tokens": 0},
        ],
        "since": (now - timedelta(hours=1)).isoformat(),
        "until": (now + timedelta(hours=1)).isoformat(),
    }
    unexplained = [{"idempotency_key": "of/nobody", "tokens": 9, "why": "no_attempt"}]
    wanted = {"lines": 2, "settled": 1, "absent": 1, "unmatched": 1, "unexplained": unexplained}
    dry = await caller.post("/v1/ledger/reconciliations", report | {"dry_run": True})
    assert (dry.status_code, dry.json()) == (200, wanted | {"dry_run": True})
    assert (await caller.get(f"/v1/budgets/{made['budget_id']}")).json()["settled"] == 120
    done = await caller.post("/v1/ledger/reconciliations", report)
    assert (done.status_code, done.json()) == (200, wanted | {"dry_run": False})
    assert (await caller.get(f"/v1/budgets/{made['budget_id']}")).json()["settled"] == 25
    again = await caller.post("/v1/ledger/reconciliations", report)
    assert again.json() == wanted | {"settled": 0, "absent": 0, "dry_run": False}
    half = await caller.post("/v1/ledger/reconciliations", {name: report[name] for name in ("provider", "lines", "since")})
    assert half.status_code in (400, 422)


async def test_the_schedule_sweeps_what_dead_workers_held(product: Live, caller: Caller) -> None:
    made = await budget(caller, 1000)
    await attempt(product, caller, "lost", None)
    async with tenant_transaction(product.pool, caller.tenant) as connection:
        await connection.execute(
            "UPDATE reservations SET expires_at = now() - interval '1 second' WHERE tenant_id = $1", caller.tenant
        )
    schedule = product.temporal.get_schedule_handle(LEDGER_SWEEP_SCHEDULE)
    await ensure_schedules(product.temporal, "local")
    try:
        await schedule.pause(note="by the operator")
        await ensure_schedules(product.temporal, "elsewhere")
        found = (await schedule.describe()).schedule
        assert (found.state.paused, found.state.note) == (True, "by the operator")
        assert "elsewhere" in str(found.action)
        await schedule.trigger()

        async def swept() -> bool:
            return (await caller.get(f"/v1/budgets/{made['budget_id']}")).json()["settled"] == 60

        await until(swept)
    finally:
        await schedule.delete()
