"""What past calls used, and what a tenant's forecasts were wrong by and no task has taken over yet."""

from __future__ import annotations

from typing import Final

from adapters.postgres.connection import Pool, tenant_select, tenant_transaction
from domain import fairness
from domain.forecasts import PastCall

HISTORY: Final = 200

_HISTORY = """
SELECT input_bytes, input_tokens, output_tokens, forecast_tokens FROM slm_calls
WHERE tenant_id = tenant.tenant_id AND role = $2 AND outcome = 'completed' AND input_bytes > 0
ORDER BY started_at DESC LIMIT $3
"""
_CARRIED = "SELECT carried FROM fairness_debts WHERE tenant_id = $1 FOR UPDATE"
_CARRY = """
INSERT INTO fairness_debts AS debt (tenant_id, carried) VALUES ($1, $2)
ON CONFLICT (tenant_id) DO UPDATE SET carried = debt.carried + excluded.carried
"""


class PostgresForecasts:
    """Implements `domain.ports.slm.Forecasts`. Every method raises DependencyUnavailable when Postgres is down."""

    def __init__(self, pool: Pool) -> None:
        """`pool` connects as the application's role."""
        self._pool = pool

    async def history(self, tenant_id: str, role: str) -> tuple[PastCall, ...]:
        """The last completed calls of the role, newest first."""
        rows = await tenant_select(self._pool, tenant_id, _HISTORY, role, HISTORY)
        return tuple(
            PastCall(
                input_bytes=row["input_bytes"],
                input_tokens=row["input_tokens"],
                output_tokens=row["output_tokens"],
                forecast_tokens=row["forecast_tokens"],
            )
            for row in rows
        )

    async def charge(self, tenant_id: str, forecast_tokens: int) -> int:
        """What the next task is counted as; the part of the tenant's debt that it takes over is taken off."""
        async with tenant_transaction(self._pool, tenant_id) as connection:
            carried: int = await connection.fetchval(_CARRIED, tenant_id) or 0
            charged, taken = fairness.charge(forecast_tokens, carried)
            if taken:
                await connection.execute(_CARRY, tenant_id, -taken)
        return charged

    async def carry(self, tenant_id: str, error_tokens: int) -> None:
        """Adds what a forecast fell short by."""
        if not error_tokens:
            return
        async with tenant_transaction(self._pool, tenant_id) as connection:
            await connection.execute(_CARRY, tenant_id, error_tokens)
