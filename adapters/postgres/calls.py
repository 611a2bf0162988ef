"""The journal of model calls: one row an attempt, one answer a step, each end with its event on `slm.metrics`.

Every attempt has its reservation in the ledger, which moves in the same transaction. A late attempt may complete after a later
one began: the first answer stands for the step, and every completed attempt is settled, since each was paid for.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import asyncpg

from adapters.postgres import ledger
from adapters.postgres.connection import Connection, Pool, Row
from adapters.postgres.outbox import event_of, insert_events
from adapters.postgres.shares import SharedTransactions
from domain.budgets import Reservation, Settlement
from domain.errors import DependencyUnavailable
from domain.event_data.slm import SlmCallRecorded
from domain.models import CallOutcome, CallRecord, SlmAnswer

# In the order of attempts, so that two that lock at once cannot lock each other out. It waits for an attempt that is just
# completing, and then finds its answer.
_LOCK = """
SELECT attempt, outcome, provider, model, queue_wait_ms, answer FROM slm_calls
WHERE tenant_id = $1 AND workflow_id = $2 AND step_key = $3 ORDER BY attempt FOR UPDATE
"""

_SET_ASIDE = """
UPDATE slm_calls SET attempt = $5 WHERE tenant_id = $1 AND workflow_id = $2 AND step_key = $3 AND attempt = $4
"""

# What was recorded as unknown, or as failed before its answer came after all, is put right.
_END = """
UPDATE slm_calls SET outcome = $5, answer = $6, model = $7, input_tokens = $8, output_tokens = $9, latency_ms = $10,
    error_type = $11, settlement = $12, cost_micros = $13, currency = $14, price_snapshot = $15, overrun_tokens = $16,
    first_token_ms = $17, sent_ms = $18, ended_at = now()
WHERE tenant_id = $1 AND workflow_id = $2 AND step_key = $3 AND attempt = $4 AND outcome <> 'completed'
    AND ($5 = 'completed' OR outcome IN ('started', 'unknown'))
RETURNING attempt
"""

_TRIES: Final = 8


class PostgresCalls:
    """Implements `domain.ports.models.CallJournal`. Every method raises DependencyUnavailable when Postgres is down."""

    def __init__(self, pool: Pool) -> None:
        """`pool` connects as the application's role."""
        self._transactions = SharedTransactions(pool)

    async def begin(self, record: CallRecord, reservation: Reservation) -> SlmAnswer | None:
        """Reserves and records the attempt as started; or the answer of an earlier attempt, if one completed.

        Raises BudgetExhausted, PriceUnknown, ModelBlocked; what became of earlier attempts is recorded all the same.
        """
        for _ in range(_TRIES):
            # Violated when somebody else begins the same attempt at this moment: by now that one is found, and counts as lost.
            with suppress(asyncpg.UniqueViolationError):
                return await self._begin(record, reservation)
        raise DependencyUnavailable("Several workers begin the same attempt at once; it is tried again.")

    async def _begin(self, record: CallRecord, reservation: Reservation) -> SlmAnswer | None:
        # Who begins the same attempt at once would wait for each other: for the budget the one, for the attempt's row the other.
        async with self._transactions.of(record.tenant_id, alone=f"{record.workflow_id}/{record.step_key}") as connection:
            if earlier := await connection.fetch(_LOCK, *_step(record)):
                await _lose(connection, record, reservation, [row for row in earlier if row["outcome"] == "started"])
                if kept := _answer(earlier):
                    return kept
                await _make_room(connection, record, earlier)
            refused, events = await ledger.reserve(connection, record, reservation)
            await insert_events(connection, record.tenant_id, [event_of(event) for event in events])
        if refused is not None:
            raise refused
        return None

    async def complete(self, record: CallRecord, answer: SlmAnswer) -> SlmAnswer:
        """Records and settles the attempt, with its event; the first writer wins and its answer is returned."""
        async with self._transactions.of(record.tenant_id) as connection:
            kept = _answer(await connection.fetch(_LOCK, *_step(record)))
            done = await _end(connection, record, record.settlement or Settlement.SETTLED, None if kept else answer)
        return kept or _costed(answer, done)

    async def end(self, record: CallRecord) -> None:
        """Records an attempt that failed or was cancelled, with its event; one that has ended keeps its end.

        Without a settlement it may have been paid for.
        """
        async with self._transactions.of(record.tenant_id) as connection:
            await connection.execute(_LOCK, *_step(record))
            await _end(connection, record, record.settlement or Settlement.UNKNOWN, None)


async def lose(connection: Connection, record: CallRecord) -> None:
    """Records a started attempt, its row locked, as one whose end nobody knows; its tokens are not known either."""
    await _end(connection, record.model_copy(update={"outcome": CallOutcome.UNKNOWN}), Settlement.UNKNOWN, None)


async def _lose(connection: Connection, current: CallRecord, wanted: Reservation, lost: Sequence[Row]) -> None:
    """Bills what attempts that were started and never ended may have cost."""
    if lost:
        await ledger.lock_chains(connection, current, wanted.keys)
    for row in lost:
        known = {name: row[name] for name in ("attempt", "provider", "model", "queue_wait_ms")}
        await lose(connection, current.model_copy(update=known))


async def _make_room(connection: Connection, record: CallRecord, earlier: Sequence[Row]) -> None:
    """A workflow that is reset uses attempt numbers again: the former attempt keeps its rows, under another number."""
    if all(row["attempt"] != record.attempt for row in earlier):
        return
    number = await ledger.set_aside(connection, record)
    if number is not None:
        await connection.execute(_SET_ASIDE, *_step(record), record.attempt, number)


async def _end(connection: Connection, record: CallRecord, settlement: Settlement, answer: SlmAnswer | None) -> CallRecord:
    """Ends the attempt in journal and ledger, with its events; the record as it was written."""
    held = await ledger.held(connection, record)
    bill = ledger.Bill(settlement, record.input_tokens + record.output_tokens, _cost(record, held))
    done = record.model_copy(update={"settlement": settlement} | _billed(held, bill))
    kept = _costed(answer, done).model_dump(mode="json") if answer else None
    if await connection.fetchval(_END, *_ended(done, kept)) is not None:
        await insert_events(connection, record.tenant_id, [event_of(SlmCallRecorded.of(done))])
        # Last, so that the budgets are locked for no longer than the commit takes.
        events = await ledger.move(connection, record.tenant_id, held, bill) if held is not None else []
        await insert_events(connection, record.tenant_id, [event_of(event) for event in events])
    return done


def _cost(record: CallRecord, held: Row | None) -> int | None:
    """What it cost, in the currency it was reserved in; None when that is not known."""
    known = held is None or held["currency"] is None or held["currency"] == record.currency
    return record.cost_micros if known else None


def _billed(held: Row | None, bill: ledger.Bill) -> dict[str, Any]:
    """What the record says of money: an attempt that may have been paid for is billed at its bound."""
    if bill.state is Settlement.RELEASED:
        return {"cost_micros": None, "currency": None}
    if held is None:
        return {}
    beyond = {"overrun_tokens": ledger.overrun(held, bill)[0]}
    if bill.state is Settlement.SETTLED and bill.micros is not None:
        return beyond
    return beyond | {"cost_micros": held["micros"], "currency": held["currency"], "price_snapshot": held["price_snapshot"]}


def _step(record: CallRecord) -> tuple[str, str, str]:
    return record.tenant_id, record.workflow_id, record.step_key


def _answer(attempts: Sequence[Row]) -> SlmAnswer | None:
    stored = next((row["answer"] for row in attempts if row["answer"] is not None), None)
    return SlmAnswer.model_validate(stored) if stored is not None else None


def _costed(answer: SlmAnswer, record: CallRecord) -> SlmAnswer:
    names = ("cost_micros", "currency", "price_snapshot", "overrun_tokens")
    return answer.model_copy(update={name: getattr(record, name) for name in names})


def _ended(record: CallRecord, answer: dict[str, Any] | None) -> tuple[Any, ...]:
    return (
        *_step(record),
        record.attempt,
        record.outcome.value,
        answer,
        record.model,
        record.input_tokens,
        record.output_tokens,
        record.latency_ms,
        record.error_type,
        record.settlement.value if record.settlement else None,
        record.cost_micros,
        record.currency,
        record.price_snapshot,
        record.overrun_tokens,
        record.first_token_ms,
        record.sent_ms,
    )
