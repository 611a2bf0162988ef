"""What past calls used, and what a tenant's forecasts were wrong by and no task has taken over yet."""

from __future__ import annotations

from typing import Final

from adapters.postgres.connection import Pool, tenant_insert, tenant_select
from domain import fairness
from domain.forecasts import History, PastCall

HISTORY: Final = 50

_HISTORY = """
SELECT debt.carried, call.* FROM
    (SELECT coalesce((SELECT carried FROM fairness_debts WHERE tenant_id = tenant.tenant_id), 0) AS carried) AS debt
LEFT JOIN (
    SELECT input_bytes, input_tokens, output_tokens, forecast_tokens FROM slm_calls
    WHERE tenant_id = tenant.tenant_id AND role = $2 AND outcome = 'completed' AND input_bytes > 0
    ORDER BY started_at DESC LIMIT $3
) AS call ON true
"""
_CARRY = """
INSERT INTO fairness_debts AS debt (tenant_id, carried) SELECT tenant_id, $2::bigint FROM tenant
ON CONFLICT (tenant_id) DO UPDATE SET carried = debt.carried + excluded.carried
"""
# No more than there still is: another task may have taken it over meanwhile.
_TAKE = """
INSERT INTO fairness_debts AS debt (tenant_id, carried) SELECT tenant_id, -$2::bigint FROM tenant
ON CONFLICT (tenant_id) DO UPDATE SET carried = debt.carried + excluded.carried
WHERE abs(debt.carried) >= abs(excluded.carried) AND sign(debt.carried) <> sign(excluded.carried)
RETURNING carried
"""


class PostgresForecasts:
    """Implements `domain.ports.slm.Forecasts`. Every method raises DependencyUnavailable when Postgres is down."""

    def __init__(self, pool: Pool) -> None:
        """`pool` connects as the application's role."""
        self._pool = pool

    async def history(self, tenant_id: str, role: str) -> History:
        """The last completed calls of the role, newest first, and what is carried."""
        rows = await tenant_select(self._pool, tenant_id, _HISTORY, role, HISTORY)
        calls = (
            PastCall(
                input_bytes=row["input_bytes"],
                input_tokens=row["input_tokens"],
                output_tokens=row["output_tokens"],
                forecast_tokens=row["forecast_tokens"],
            )
            for row in rows
            if row["input_bytes"] is not None
        )
        return History(calls=tuple(calls), carried=rows[0]["carried"])

    async def charge(self, tenant_id: str, forecast_tokens: int, carried: int) -> int:
        """What the next task is counted as; the part of the tenant's debt that it takes over is taken off."""
        charged, taken = fairness.charge(forecast_tokens, carried)
        if taken and not await tenant_insert(self._pool, tenant_id, _TAKE, taken):
            return charged - taken
        return charged

    async def carry(self, tenant_id: str, error_tokens: int) -> None:
        """Adds what a forecast fell short by."""
        if error_tokens:
            await tenant_insert(self._pool, tenant_id, _CARRY, error_tokens)
