"""Events: what is written to the outbox with the state it tells of, and how it is read again.

An event becomes a CloudEvents 1.0 envelope: `id` = event_id, `source` = `urn:somagent:{region}`, `subject`, `time`,
extensions `partitionkey` = tenant + subject, `traceparent`, `tenant`. `data` holds ids, numbers and hashes, never a text.
"""

from __future__ import annotations

import re
from typing import Any

from pydantic import Field

from domain.base import Contract, Count, TenantId, UtcTime
from domain.names import EventType, Topic

_CURSOR = re.compile(r"^(\d{1,20})-(\d{1,20})$")


class NewEvent(Contract):
    """An event about to be written."""

    event_id: str
    topic: Topic
    type: EventType
    subject: str
    data: dict[str, Any] = Field(default_factory=dict)
    traceparent: str | None = None


class Position(Contract):
    """Where an event stands in commit order: the writing transaction's id, then the row's number within it."""

    xid: Count
    seq: Count

    def __str__(self) -> str:
        """The form that `Last-Event-ID` and cursors carry."""
        return f"{self.xid}-{self.seq}"

    @classmethod
    def parse(cls, text: str) -> Position | None:
        """The position of `12-345`; None when the text is not one."""
        match = _CURSOR.match(text)
        return cls(xid=int(match[1]), seq=int(match[2])) if match else None


class StoredEvent(Contract):
    """An event as it was committed."""

    position: Position
    tenant_id: TenantId
    event_id: str
    topic: Topic
    type: EventType
    subject: str
    time: UtcTime
    data: dict[str, Any]
    traceparent: str | None = None
