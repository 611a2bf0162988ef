"""What forecasts rest on and what they were wrong by, on a real Postgres."""

from __future__ import annotations

import asyncio

from contract.ledger_rows import Tenant

from adapters.postgres.connection import Pool
from adapters.postgres.forecasts import HISTORY, PostgresForecasts
from domain.forecasts import History

ROLE = "dialogue_reasoning"


async def test_a_tenant_without_calls_has_no_history(pool: Pool) -> None:
    assert await PostgresForecasts(pool).history(Tenant(pool).id, ROLE) == History()


async def test_the_last_completed_calls_are_the_history(pool: Pool) -> None:
    tenant, stranger, forecasts = Tenant(pool), Tenant(pool), PostgresForecasts(pool)
    for number in range(HISTORY + 2):
        await tenant.calls.begin(tenant.record(f"s{number}", input_bytes=number + 1, forecast_tokens=9), tenant.bound(100))
        await tenant.complete(number, step=f"s{number}")
    await tenant.calls.begin(tenant.record("failed", input_bytes=7), tenant.bound(100))
    found = (await forecasts.history(tenant.id, ROLE)).calls
    expected = [(number + 1, number, 9) for number in reversed(range(2, HISTORY + 2))]
    assert [(call.input_bytes, call.input_tokens, call.forecast_tokens) for call in found] == expected
    assert (await forecasts.history(tenant.id, "summarization")).calls == ()
    assert (await forecasts.history(stranger.id, ROLE)).calls == ()


async def test_what_a_forecast_was_wrong_by_is_taken_over_once(pool: Pool) -> None:
    """Tasks that are forecast at the same moment have all seen the same debt, and only as many take it as it pays for."""
    for debt, one in ((1_000, 90), (-1_000, -90)):
        tenant, forecasts = Tenant(pool).id, PostgresForecasts(pool)
        await forecasts.carry(tenant, debt)
        await forecasts.carry(tenant, 0)
        assert (await forecasts.history(tenant, ROLE)).carried == debt

        async def charged(tenant: str = tenant, debt: int = debt, forecasts: PostgresForecasts = forecasts) -> int:
            return await forecasts.charge(tenant, 100 if debt < 0 else 10, debt)

        counted = await asyncio.gather(*(charged() for _ in range(20)))
        own = 100 if debt < 0 else 10
        assert sorted(counted) == sorted([own + one] * 11 + [own] * 9)
        assert (await forecasts.history(tenant, ROLE)).carried == debt - 11 * one
