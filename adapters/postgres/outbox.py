"""Writing events: into the outbox, in the transaction that writes the state they tell of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pydantic_core
from opentelemetry import trace
from uuid_utils.compat import uuid7

from adapters.postgres.connection import Connection
from domain.event_data.base import EventData, new_event
from domain.events import NewEvent
from domain.ids import Prefix, format_id

# jsonb goes as text: an array of it would need a codec of its own. Ordinality keeps the order of the sequence in `seq`.
_ADD = """
INSERT INTO outbox (tenant_id, event_id, topic, type, subject, data, traceparent, created_at)
SELECT {tenant}, event_id, topic, type, subject, data::jsonb, traceparent, {at}
FROM {beside} unnest({arrays}) WITH ORDINALITY AS new (event_id, topic, type, subject, data, traceparent, place)
ORDER BY place
"""


def outbox_insert(tenant: str, first: int, *, at: str = "now()", beside: str = "") -> str:
    """The statement that adds events: their columns (`event_columns`) are arrays, the parameters from `first` on; `tenant` and
    `at` are expressions, and `beside` is a source with a comma, of which each row adds them all."""
    arrays = ", ".join(f"${number}::text[]" for number in range(first, first + 6))
    return _ADD.format(tenant=tenant, at=at, beside=beside, arrays=arrays)


_INSERT = outbox_insert("$1", 2, at="coalesce($8, now())")


def traceparent() -> str | None:
    """The current span in the form of W3C Trace Context; None outside of one."""
    span = trace.get_current_span().get_span_context()
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}" if span.is_valid else None


def event_of(data: EventData) -> NewEvent:
    """The event that tells `data`, with a fresh id and the current trace."""
    return new_event(format_id(Prefix.EVENT, uuid7()), data, traceparent())


async def insert_events(connection: Connection, tenant_id: str, events: Sequence[NewEvent], now: datetime | None = None) -> None:
    """Adds the events in order, in one statement; their time is `now`, or the transaction's."""
    if events:
        await connection.execute(_INSERT, tenant_id, *event_columns(events), now)


def event_columns(events: Sequence[NewEvent]) -> tuple[Sequence[str | None], ...]:
    """Ids, topics, types, subjects, data as JSON and trace parents of events: one array a column."""
    return (
        [event.event_id for event in events],
        [event.topic.value for event in events],
        [event.type.value for event in events],
        [event.subject for event in events],
        [pydantic_core.to_json(event.data).decode() for event in events],
        [event.traceparent for event in events],
    )
