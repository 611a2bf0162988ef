"""What was used, summed from the journal. Unknown attempts count at the bound that the ledger billed."""

from __future__ import annotations

from typing import Final

from adapters.postgres.connection import Pool, Row, tenant_select
from domain.usage import MAX_GROUPS, UsageBy, UsageQuery, UsageRow

_SUMS: Final = """
SELECT CASE WHEN 'day' = ANY($4::text[]) THEN to_char(started_at, 'YYYY-MM-DD') END AS day,
       CASE WHEN 'model' = ANY($4) THEN calls.provider || '/' || calls.model END AS model,
       CASE WHEN 'session' = ANY($4) THEN session_id END AS session,
       CASE WHEN 'user' = ANY($4) THEN subject END AS "user",
       CASE WHEN 'lane' = ANY($4) THEN lane END AS lane,
       calls.currency,
       count(*) AS calls,
       count(*) FILTER (WHERE settlement = 'unknown') AS unknown,
       sum(CASE WHEN settlement = 'unknown' THEN 0 ELSE input_tokens END)::bigint AS input_tokens,
       sum(CASE WHEN settlement = 'unknown' THEN 0 ELSE output_tokens END)::bigint AS output_tokens,
       sum(coalesce(bound.tokens, 0))::bigint AS unknown_tokens,
       sum(overrun_tokens)::bigint AS overrun_tokens,
       sum(coalesce(cost_micros, 0))::bigint AS cost_micros
FROM slm_calls AS calls
LEFT JOIN reservations AS bound ON settlement = 'unknown' AND bound.tenant_id = calls.tenant_id
    AND bound.workflow_id = calls.workflow_id AND bound.step_key = calls.step_key AND bound.attempt = calls.attempt
WHERE calls.tenant_id = tenant.tenant_id AND started_at >= $2 AND started_at < $3 AND outcome <> 'started'
GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6 LIMIT $5
"""


class PostgresUsage:
    """Implements `domain.ports.budgets.UsageReads` over `slm_calls`."""

    def __init__(self, pool: Pool) -> None:
        """`pool` connects as the application's role."""
        self._pool = pool

    async def usage(self, tenant_id: str, query: UsageQuery) -> tuple[UsageRow, ...]:
        """Sums by group, in the groups' order; at most MAX_GROUPS of them."""
        names = [by.value for by in query.by]
        rows = await tenant_select(self._pool, tenant_id, _SUMS, query.since, query.until, names, MAX_GROUPS)
        return tuple(_view(row, query.by) for row in rows)


def _view(row: Row, by: tuple[UsageBy, ...]) -> UsageRow:
    sums = {name: row[name] for name in UsageRow.model_fields if name != "group"}
    return UsageRow(group={each: row[each.value] for each in by}, **sums)
