"""The ledger's statements. `held` and the order of locks are told in `ledger`."""

from __future__ import annotations

from typing import Final

# One statement: it waits for the chain's rows, sees what those before it left there, and holds in all of them or in none.
# The journal's row is written with it, since nothing but the commit may come while the budgets are locked. A row of that number
# that is still there is of an attempt without a reservation; it begins anew.
# An update that meets a row changed since its snapshot first tries the constraint on the old version; so it writes every column
# the constraint reads, from the locked rows, or it would be refused for numbers that are no longer there.
RESERVE: Final = """
WITH chain AS MATERIALIZED (
    SELECT budget_id, scope, scope_id, unit, cap, settled, reserved, alerted_cap, exhausted_cap,
           CASE WHEN unit = 'tokens' THEN $8::bigint WHEN unit = $10 THEN $9::bigint END AS wanted
    FROM budgets
    WHERE tenant_id = $1 AND (scope, scope_id) IN (SELECT * FROM unnest($5::text[], $6::text[]))
    ORDER BY budget_id FOR UPDATE
), judged AS (
    SELECT *, coalesce(wanted > cap - settled - reserved, false) AS lacks,
           cap > 0 AND 100 * (settled + reserved + wanted) >= $15 * cap AND alerted_cap IS DISTINCT FROM cap AS alerts
    FROM chain
), verdict AS (
    SELECT coalesce(bool_or(lacks), false) AS exhausted, coalesce(bool_or(wanted IS NULL), false) AND NOT $12 AS unpriced,
           count(*) > 0 AND EXISTS (SELECT FROM model_blocks WHERE tenant_id = $1 AND provider = $13 AND model = $14
                                    AND reviewed_at IS NULL) AS blocked
    FROM judged
), allowed AS (
    SELECT FROM verdict WHERE NOT exhausted AND NOT unpriced AND NOT blocked
), taken AS (
    UPDATE budgets SET cap = judged.cap, settled = judged.settled, reserved = judged.reserved + wanted,
        alerted_cap = CASE WHEN alerts THEN judged.cap ELSE budgets.alerted_cap END
    FROM judged, allowed
    WHERE budgets.tenant_id = $1 AND budgets.budget_id = judged.budget_id AND wanted IS NOT NULL
), told AS (
    UPDATE budgets SET exhausted_cap = judged.cap
    FROM judged, verdict
    WHERE budgets.tenant_id = $1 AND budgets.budget_id = judged.budget_id AND lacks AND NOT unpriced AND NOT blocked
        AND budgets.exhausted_cap IS DISTINCT FROM judged.cap
), kept AS (
    INSERT INTO reservations (tenant_id, workflow_id, step_key, attempt, state, budget_ids, held, tokens, micros, currency,
                              price_snapshot, provider, model, idempotency_key, expires_at)
    SELECT $1, $2, $3, $4, 'reserved',
           coalesce(array_agg(budget_id ORDER BY budget_id) FILTER (WHERE wanted IS NOT NULL), '{}'),
           coalesce(array_agg(wanted ORDER BY budget_id) FILTER (WHERE wanted IS NOT NULL), '{}'),
           $8, $9, $10, $11, $13, $14, $2 || '/' || $3, now() + make_interval(secs => $7)
    FROM judged HAVING EXISTS (SELECT FROM allowed)
), begun AS (
    INSERT INTO slm_calls (tenant_id, workflow_id, step_key, attempt, outcome, settlement, provider, model, price_snapshot,
                           session_id, turn_id, role, queue_wait_ms, request_id, subject, lane, input_bytes, forecast_tokens,
                           region)
    SELECT $1, $2, $3, $4, 'started', 'reserved', $13, $14, $11, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25 FROM allowed
    ON CONFLICT (tenant_id, workflow_id, step_key, attempt) DO UPDATE
    SET outcome = 'started', settlement = 'reserved', provider = excluded.provider, model = excluded.model,
        price_snapshot = excluded.price_snapshot, queue_wait_ms = excluded.queue_wait_ms, input_bytes = excluded.input_bytes,
        forecast_tokens = excluded.forecast_tokens, input_tokens = 0, output_tokens = 0, latency_ms = 0, error_type = NULL,
        started_at = now(), ended_at = NULL, cost_micros = NULL, currency = NULL, overrun_tokens = 0, first_token_ms = NULL,
        region = excluded.region, sent_ms = NULL
)
SELECT verdict.exhausted, unpriced, blocked, budget_id, scope, scope_id, unit, cap, settled, reserved, wanted, lacks, alerts,
       exhausted_cap IS DISTINCT FROM cap AS untold
FROM verdict LEFT JOIN judged ON true
ORDER BY array_position($5, scope), unit
"""

HELD: Final = """
SELECT workflow_id, step_key, attempt, state, budget_ids, held, tokens, micros, currency, price_snapshot, provider, model
FROM reservations WHERE tenant_id = $1 AND workflow_id = $2 AND step_key = $3 AND attempt = $4 FOR UPDATE
"""

# `covered` is what the cap has room for once the old part is given back; the rest of what is billed stays uncovered.
MOVE: Final = """
WITH locked AS MATERIALIZED (
    SELECT budgets.*, part.held, CASE WHEN unit = 'tokens' THEN $7::bigint ELSE $8 END AS billed,
           CASE WHEN unit = 'tokens' THEN $9::bigint ELSE $10 END AS bound
    FROM budgets JOIN unnest($11::text[], $12::bigint[]) AS part (budget_id, held) USING (budget_id)
    WHERE tenant_id = $1 ORDER BY budget_id FOR UPDATE OF budgets
), judged AS (
    SELECT *, least(billed, cap - settled - reserved + held) AS covered, greatest(billed - bound, 0) AS excess,
           CASE WHEN $5 = 'unknown' THEN bound - held ELSE 0 END AS uncovered_before
    FROM locked
), moved AS (
    SELECT *, settled - CASE WHEN $5 = 'reserved' THEN 0 ELSE held END + covered AS new_settled,
           reserved - CASE WHEN $5 = 'reserved' THEN held ELSE 0 END AS new_reserved
    FROM judged
), told AS (
    SELECT *, cap > 0 AND 100 * (new_settled + new_reserved) >= $16 * cap AND alerted_cap IS DISTINCT FROM cap AS alerts
    FROM moved
), books AS (
    UPDATE budgets SET cap = told.cap, settled = new_settled, reserved = new_reserved, overrun = budgets.overrun + excess,
        uncovered = budgets.uncovered + billed - covered - uncovered_before,
        alerted_cap = CASE WHEN alerts THEN told.cap ELSE budgets.alerted_cap END
    FROM told WHERE budgets.tenant_id = $1 AND budgets.budget_id = told.budget_id
), ended AS (
    UPDATE reservations SET state = $6, ended_at = now(), used_tokens = $13, used_micros = $14,
        held = coalesce((SELECT array_agg(covered ORDER BY budget_id) FROM told), '{}'),
        reconciled_at = CASE WHEN $15 THEN now() ELSE reconciled_at END
    WHERE tenant_id = $1 AND workflow_id = $2 AND step_key = $3 AND attempt = $4
)
SELECT budget_id, scope, scope_id, unit, cap, new_settled AS settled, new_reserved AS reserved, 0 AS wanted, excess, alerts,
       billed - covered AS uncovered
FROM told WHERE excess > 0 OR billed > covered OR alerts ORDER BY budget_id
"""

BLOCK: Final = """
INSERT INTO model_blocks (tenant_id, provider, model, workflow_id, step_key, attempt, overrun_tokens, overrun_micros)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (tenant_id, provider, model) WHERE reviewed_at IS NULL DO NOTHING
"""

# A workflow that is reset counts its attempts from 1 again. The former one of that number stays on the books, under a number
# below zero, which no attempt has.
SET_ASIDE: Final = """
UPDATE reservations SET attempt = (
    SELECT least(min(attempt), 0) - 1 FROM reservations WHERE tenant_id = $1 AND workflow_id = $2 AND step_key = $3
)
WHERE tenant_id = $1 AND workflow_id = $2 AND step_key = $3 AND attempt = $4
RETURNING attempt
"""

LOCK_CHAINS: Final = """
SELECT FROM budgets
WHERE tenant_id = $1 AND ((scope, scope_id) IN (SELECT * FROM unnest($2::text[], $3::text[])) OR budget_id IN (
    SELECT unnest(budget_ids) FROM reservations WHERE tenant_id = $1 AND workflow_id = $4 AND step_key = $5
))
ORDER BY budget_id FOR UPDATE
"""
