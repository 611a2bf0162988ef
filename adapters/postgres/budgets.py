"""Budgets and blocked models in Postgres: caps change with their event, and never below what is bound."""

from __future__ import annotations

from typing import Any, Final

from adapters.postgres.changes import tell_change, was_made
from adapters.postgres.connection import Connection, Pool, Row, tenant_select, tenant_transaction
from adapters.postgres.outbox import event_of, insert_events
from domain.budgets import Budget, BudgetScope, ModelBlock, ReviewModel, SetBudget
from domain.errors import Conflict, NotFound
from domain.event_data.budgets import BudgetSet, ModelReviewed

_COLUMNS: Final = """
budget_id, scope, scope_id, unit, cap, settled, reserved, overrun, uncovered,
coalesce(exhausted_cap = cap, false) AS exhausted, created_at, updated_at
"""
_LOCK: Final = " ".join(
    ("SELECT", _COLUMNS, "FROM budgets WHERE tenant_id = $1 AND scope = $2 AND scope_id = $3 AND unit = $4 FOR UPDATE")
)
_CREATE: Final = """
INSERT INTO budgets (tenant_id, budget_id, scope, scope_id, unit, cap) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (tenant_id, scope, scope_id, unit) DO NOTHING
RETURNING budget_id
"""
# Of a new cap alert and exhaustion may be told again, also if it is one that stood before.
_CHANGE: Final = """
UPDATE budgets SET cap = $3, alerted_cap = NULL, exhausted_cap = NULL, updated_at = now()
WHERE tenant_id = $1 AND budget_id = $2
"""
_SELECT: Final = " ".join(("SELECT", _COLUMNS, "FROM budgets WHERE tenant_id = tenant.tenant_id"))
_GET: Final = f"{_SELECT} AND budget_id = $2"
_PAGE: Final = f"""
{_SELECT} AND ($2::text IS NULL OR scope = $2) AND ($3::text IS NULL OR scope_id = $3) AND ($4::text IS NULL OR budget_id < $4)
ORDER BY budget_id DESC LIMIT $5
"""
_BLOCKS: Final = """
SELECT provider, model, workflow_id, step_key, attempt, overrun_tokens, overrun_micros, blocked_at, reviewed_at, reviewed_by
FROM model_blocks WHERE tenant_id = tenant.tenant_id AND ($2 OR reviewed_at IS NULL)
ORDER BY blocked_at DESC, provider, model LIMIT 200
"""
_REVIEW: Final = """
UPDATE model_blocks SET reviewed_at = now(), reviewed_by = $4
WHERE tenant_id = $1 AND provider = $2 AND model = $3 AND reviewed_at IS NULL RETURNING blocked_at
"""
_REVIEWED: Final = "SELECT true FROM model_blocks WHERE tenant_id = $1 AND provider = $2 AND model = $3 LIMIT 1"


class PostgresBudgets:
    """BudgetStore and BudgetReads over `budgets` and `model_blocks`."""

    def __init__(self, pool: Pool) -> None:
        """`pool` connects as the application's role."""
        self._pool = pool

    async def set(self, change: SetBudget) -> Budget:
        """Makes the budget, or changes its cap, with `budget.set`. The event's id is the change's, so it happens once.

        Raises Conflict when more than the cap is bound.
        """
        tenant_id = change.actor.tenant_id
        async with tenant_transaction(self._pool, tenant_id) as connection:
            created = await connection.fetchval(
                _CREATE, tenant_id, change.budget_id, change.key.scope.value, change.key.scope_id, change.unit, change.cap
            )
            budget = await _locked(connection, change)
            if created is not None:
                await _told(connection, change, budget)
            elif not await was_made(connection, tenant_id, change.change_id):
                budget = await _changed(connection, change, budget)
        return budget

    async def review(self, review: ReviewModel) -> None:
        """Ends the model's block, with `model.reviewed`. Raises NotFound when there never was one; again is harmless."""
        tenant_id, named = review.actor.tenant_id, (review.provider, review.model)
        async with tenant_transaction(self._pool, tenant_id) as connection:
            if await connection.fetchval(_REVIEW, tenant_id, *named, review.actor.subject) is not None:
                reviewed = ModelReviewed(provider=review.provider, model=review.model, reviewer=review.actor.subject)
                await insert_events(connection, tenant_id, [event_of(reviewed)])
            elif not await connection.fetchval(_REVIEWED, tenant_id, *named):
                raise NotFound("Nothing blocks that model; GET /v1/slm/models/blocks lists what does.")

    async def get(self, tenant_id: str, budget_id: str) -> Budget:
        """One budget. Raises NotFound."""
        rows = await tenant_select(self._pool, tenant_id, _GET, budget_id)
        if not rows:
            raise NotFound("No budget has that id.")
        return _view(rows[0])

    async def page(
        self, tenant_id: str, *, scope: BudgetScope | None, scope_id: str | None, after: str | None, limit: int
    ) -> tuple[Budget, ...]:
        """Newest first, from after that id on."""
        named = scope.value if scope else None
        return tuple(_view(row) for row in await tenant_select(self._pool, tenant_id, _PAGE, named, scope_id, after, limit))

    async def blocks(self, tenant_id: str, *, reviewed: bool) -> tuple[ModelBlock, ...]:
        """The open blocks, with `reviewed` also those that somebody looked at; the last 200."""
        rows = await tenant_select(self._pool, tenant_id, _BLOCKS, reviewed)
        return tuple(ModelBlock.model_validate(_named(row, ModelBlock)) for row in rows)


async def _locked(connection: Connection, change: SetBudget) -> Budget:
    (row,) = await connection.fetch(_LOCK, change.actor.tenant_id, change.key.scope.value, change.key.scope_id, change.unit)
    return _view(row)


async def _changed(connection: Connection, change: SetBudget, budget: Budget) -> Budget:
    if change.cap < (bound := budget.settled + budget.reserved):
        raise Conflict(
            f"The cap cannot be less than the {bound} that are bound: {budget.settled} settled and {budget.reserved} reserved.",
            settled=budget.settled,
            reserved=budget.reserved,
        )
    await connection.execute(_CHANGE, change.actor.tenant_id, budget.budget_id, change.cap)
    changed = await _locked(connection, change)
    await _told(connection, change, changed)
    return changed


async def _told(connection: Connection, change: SetBudget, budget: Budget) -> None:
    told = BudgetSet(
        budget_id=budget.budget_id,
        scope=budget.scope,
        scope_id=budget.scope_id,
        unit=budget.unit,
        cap=budget.cap,
        subject=change.actor.subject,
    )
    await tell_change(connection, change.actor.tenant_id, change.change_id, told)


def _named(row: Row, model: type[Budget | ModelBlock]) -> dict[str, Any]:
    return {name: row[name] for name in model.model_fields}


def _view(row: Row) -> Budget:
    return Budget.model_validate(_named(row, Budget))
