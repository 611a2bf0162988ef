"""The budgets' books: what an attempt may use is held in every budget of its chain, then billed for what it used.

`held` of a reservation is what each of its budgets counts for it: in `reserved` while the attempt runs, in `settled` once
it is settled or unknown, nothing once it is released. So a budget is always the sum of its reservations, and a move from one
state to another gives back the old part before it takes the new one. Rows are locked in one order everywhere: the step's
calls, its reservations, budgets by id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adapters.postgres import ledger_news as news
from adapters.postgres import ledger_statements as sql
from adapters.postgres.connection import Connection, Row
from domain.budgets import ALERT_PERCENT, BudgetKey, Reservation, Settlement
from domain.errors import BudgetExhausted, DomainError
from domain.event_data.base import EventData
from domain.models import CallRecord


@dataclass(frozen=True)
class Bill:
    """What an attempt comes to. Tokens and micro-units count where it is settled; an unknown one is billed at its bound."""

    state: Settlement
    tokens: int = 0
    micros: int | None = None
    reconciled: bool = False


async def reserve(connection: Connection, record: CallRecord, wanted: Reservation) -> tuple[DomainError | None, list[EventData]]:
    """Holds the bound in every budget of the chain and begins the attempt in the journal; or in none, and then says why not.

    The second part is what is to be told of it. The error is returned, not raised, since the telling is committed in any case.
    """
    rows = await connection.fetch(
        sql.RESERVE,
        *_attempt(record),
        [key.scope.value for key in wanted.keys],
        [key.scope_id for key in wanted.keys],
        wanted.seconds,
        wanted.tokens,
        wanted.micros,
        wanted.currency,
        wanted.price_snapshot,
        wanted.unpriced_counts,
        record.provider,
        record.model,
        ALERT_PERCENT,
        record.session_id,
        record.turn_id,
        record.role,
        record.queue_wait_ms,
        record.request_id,
        record.subject,
        record.lane,
        record.input_bytes,
        record.forecast_tokens,
        record.region,
    )
    error = news.refusal(rows, record)
    if error is None:
        return None, [news.alerted(row) for row in rows if row["alerts"]]
    if not isinstance(error, BudgetExhausted):
        return error, []
    return error, [news.exhausted(row) for row in rows if row["lacks"] and row["untold"]]


async def held(connection: Connection, record: CallRecord) -> Row | None:
    """The reservation of an attempt, locked. None for one that was begun before there were any."""
    return await connection.fetchrow(sql.HELD, *_attempt(record))


def overrun(reservation: Row, bill: Bill) -> tuple[int, int]:
    """Tokens and micro-units used beyond the bound."""
    if bill.state is not Settlement.SETTLED:
        return 0, 0
    bound = reservation["micros"]
    money = 0 if bill.micros is None or bound is None else max(0, bill.micros - bound)
    return max(0, bill.tokens - reservation["tokens"]), money


async def move(connection: Connection, tenant_id: str, reservation: Row, bill: Bill) -> list[EventData]:
    """Takes a locked reservation to another state, in its row and in every budget of its chain; what is to be told of it.

    What is settled stays so: it was paid for, and its figures are the provider's.
    """
    if reservation["state"] in (Settlement.SETTLED, bill.state):
        return []
    settled, unknown = bill.state is Settlement.SETTLED, bill.state is Settlement.UNKNOWN
    tokens = bill.tokens if settled else reservation["tokens"] if unknown else 0
    # Money nobody can put a figure on is billed at its bound.
    micros = bill.micros if settled and bill.micros is not None else reservation["micros"] if settled or unknown else 0
    rows = await connection.fetch(
        sql.MOVE,
        tenant_id,
        reservation["workflow_id"],
        reservation["step_key"],
        reservation["attempt"],
        reservation["state"],
        bill.state.value,
        tokens,
        micros,
        reservation["tokens"],
        reservation["micros"],
        reservation["budget_ids"],
        reservation["held"],
        None if unknown else tokens,
        None if unknown else micros,
        bill.reconciled,
        ALERT_PERCENT,
    )
    await _block(connection, tenant_id, reservation, bill)
    overruns: list[EventData] = [news.overrun(row, reservation) for row in rows if row["excess"] or row["uncovered"]]
    return overruns + [news.alerted(row) for row in rows if row["alerts"]]


async def set_aside(connection: Connection, record: CallRecord) -> int | None:
    """Makes room for an attempt whose number was used before: the number its former reservation now has, if there was one."""
    return await connection.fetchval(sql.SET_ASIDE, *_attempt(record))


async def lock_chains(connection: Connection, record: CallRecord, keys: Sequence[BudgetKey]) -> None:
    """Locks the budgets of these keys and of all attempts of the step at once, so that two chains are not locked in turn."""
    scopes, ids = [key.scope.value for key in keys], [key.scope_id for key in keys]
    await connection.execute(sql.LOCK_CHAINS, record.tenant_id, scopes, ids, record.workflow_id, record.step_key)


async def _block(connection: Connection, tenant_id: str, reservation: Row, bill: Bill) -> None:
    """Keeps a model that used more than its bound from budgets until somebody has looked at it."""
    tokens, micros = overrun(reservation, bill)
    if reservation["budget_ids"] and (tokens or micros):
        values = (reservation[name] for name in ("provider", "model", "workflow_id", "step_key", "attempt"))
        await connection.execute(sql.BLOCK, tenant_id, *values, tokens, micros)


def _attempt(record: CallRecord) -> tuple[str, str, str, int]:
    return record.tenant_id, record.workflow_id, record.step_key, record.attempt
