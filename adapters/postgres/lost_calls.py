"""Reservations whose attempt never ended: the sweep takes them for lost, and a vendor's report says what they came to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from adapters.postgres import ledger
from adapters.postgres.calls import lose
from adapters.postgres.connection import Connection, Pool, Row, tenant_select, tenant_transaction
from adapters.postgres.outbox import event_of, insert_events
from domain.base import UtcTime
from domain.budgets import Settlement
from domain.event_data.base import EventData
from domain.event_data.slm import SlmCallRecorded
from domain.models import CallRecord
from domain.names import SYSTEM_TENANT
from domain.reconciling import Attempt, VendorUsage

_OVERDUE_TENANTS: Final = """
SELECT reservations.tenant_id FROM reservations
WHERE tenant.tenant_id IS NOT NULL AND state = 'reserved' AND expires_at < now()
GROUP BY reservations.tenant_id ORDER BY min(expires_at), reservations.tenant_id LIMIT $2
"""
_OVERDUE: Final = """
SELECT workflow_id, step_key, attempt FROM reservations
WHERE tenant_id = tenant.tenant_id AND state = 'reserved' AND expires_at < now()
ORDER BY expires_at, workflow_id, step_key, attempt LIMIT $2
"""
_STILL_OVERDUE: Final = """
SELECT true FROM reservations
WHERE tenant_id = $1 AND workflow_id = $2 AND step_key = $3 AND attempt = $4 AND state = 'reserved' AND expires_at < now()
"""
_CALL: Final = """
SELECT * FROM slm_calls WHERE tenant_id = $1 AND workflow_id = $2 AND step_key = $3 AND attempt = $4 FOR UPDATE
"""
_ATTEMPTS: Final = """
SELECT workflow_id, step_key, attempt, state, idempotency_key, reservations.provider, reservations.model, tokens,
       reservations.currency, slm_calls.input_tokens, slm_calls.output_tokens, used_micros, created_at, expires_at
FROM reservations LEFT JOIN slm_calls USING (tenant_id, workflow_id, step_key, attempt)
WHERE tenant_id = tenant.tenant_id AND reservations.provider = $2
    AND (idempotency_key = ANY($3::text[]) OR (created_at >= $4 AND created_at <= $5))
"""
_RECONCILE: Final = """
UPDATE slm_calls SET settlement = $5, input_tokens = $6, output_tokens = $7, cost_micros = $8, currency = $9, overrun_tokens = $10
WHERE tenant_id = $1 AND workflow_id = $2 AND step_key = $3 AND attempt = $4
"""
_KNOWN: Final = set(CallRecord.model_fields) - {"at"}


class PostgresLedger:
    """Implements `domain.ports.budgets.Ledger`."""

    def __init__(self, pool: Pool) -> None:
        """`pool` connects as the application's role; as the tenant `system` it sees whose reservations are overdue."""
        self._pool = pool

    async def overdue_tenants(self, limit: int) -> tuple[str, ...]:
        """The longest overdue first."""
        rows = await tenant_select(self._pool, SYSTEM_TENANT, _OVERDUE_TENANTS, limit)
        return tuple(row["tenant_id"] for row in rows)

    async def sweep(self, tenant_id: str, limit: int) -> int:
        """Each in a transaction of its own, so that none waits for the others."""
        rows = await tenant_select(self._pool, tenant_id, _OVERDUE, limit)
        return sum([await self._lose(tenant_id, (row["workflow_id"], row["step_key"], row["attempt"])) for row in rows])

    async def _lose(self, tenant_id: str, attempt: tuple[str, str, int]) -> bool:
        async with tenant_transaction(self._pool, tenant_id) as connection:
            record = await locked_call(connection, tenant_id, attempt)
            if record is None or not await connection.fetchval(_STILL_OVERDUE, tenant_id, *attempt):
                return False
            await lose(connection, record)
        return True

    async def attempts(
        self, tenant_id: str, provider: str, keys: Sequence[str], since: UtcTime | None, until: UtcTime | None
    ) -> tuple[Attempt, ...]:
        """In no order."""
        rows = await tenant_select(self._pool, tenant_id, _ATTEMPTS, provider, list(keys), since, until)
        return tuple(Attempt.model_validate({name: row[name] for name in Attempt.model_fields}) for row in rows)

    async def reconcile(self, tenant_id: str, attempt: Attempt, usage: VendorUsage | None) -> bool:
        """In one transaction with journal and events. What has been settled meanwhile stays as it is."""
        named = (attempt.workflow_id, attempt.step_key, attempt.attempt)
        async with tenant_transaction(self._pool, tenant_id) as connection:
            record = await locked_call(connection, tenant_id, named)
            held = await ledger.held(connection, record) if record else None
            if record is None or held is None or held["state"] not in _open(usage):
                return False
            bill = _bill(usage, held)
            told = record.model_copy(update=_figures(usage, held, bill))
            await connection.execute(
                _RECONCILE,
                tenant_id,
                *named,
                bill.state.value,
                told.input_tokens,
                told.output_tokens,
                told.cost_micros,
                told.currency,
                told.overrun_tokens,
            )
            events: list[EventData] = [SlmCallRecorded.of(told), *await ledger.move(connection, tenant_id, held, bill)]
            await insert_events(connection, tenant_id, [event_of(event) for event in events])
        return True


async def locked_call(connection: Connection, tenant_id: str, attempt: tuple[str, str, int]) -> CallRecord | None:
    """The attempt as the journal has it, its row locked."""
    row = await connection.fetchrow(_CALL, tenant_id, *attempt)
    if row is None:
        return None
    return CallRecord.model_validate({name: row[name] for name in _KNOWN} | {"at": datetime.now(UTC)})


def _open(usage: VendorUsage | None) -> tuple[Settlement, ...]:
    """What a report may change: what is unknown, and what was held for free and is billed after all."""
    return (Settlement.UNKNOWN,) if usage is None else (Settlement.UNKNOWN, Settlement.RELEASED)


def _bill(usage: VendorUsage | None, held: Row) -> ledger.Bill:
    if usage is None:
        return ledger.Bill(Settlement.RELEASED, reconciled=True)
    return ledger.Bill(Settlement.SETTLED, usage.tokens, usage.micros if held["currency"] else None, reconciled=True)


def _figures(usage: VendorUsage | None, held: Row, bill: ledger.Bill) -> dict[str, Any]:
    if usage is None:
        return {"settlement": bill.state, "input_tokens": 0, "output_tokens": 0, "cost_micros": None, "currency": None}
    return {
        "settlement": bill.state,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cost_micros": bill.micros if bill.micros is not None else held["micros"],
        "currency": held["currency"],
        "overrun_tokens": ledger.overrun(held, bill)[0],
    }
