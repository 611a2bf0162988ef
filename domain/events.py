"""Events: what is written to the outbox with the state it tells of, and how it is read again.

An event becomes a CloudEvents 1.0 envelope: `id` = event_id, `source` = `urn:somagent:{region}`, `subject`, `time`,
extensions `partitionkey` = tenant + "/" + subject, `traceparent`, `tenant`, `sequence`. `data` holds ids, numbers and hashes,
never a text.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field

from domain.base import Contract, Count, TenantId, UtcTime
from domain.names import EventType, Topic

_CURSOR = re.compile(r"([0-9]{1,20})-([0-9]{1,20})")
_MAX_COUNT = 2**53 - 1


class NewEvent(Contract):
    """An event about to be written."""

    event_id: str
    topic: Topic
    type: EventType
    subject: str
    data: dict[str, Any] = Field(default_factory=dict)
    traceparent: str | None = None


class Position(Contract):
    """Where an event stands in commit order: the writing transaction's id, then the row's number within it.

    A physical copy of the database keeps counting transactions where the original stood. One restored from a dump counts from
    the beginning again, so its new events would sort before its old ones: the relay refuses to run on one (docs/events.md).
    """

    xid: Count
    seq: Count

    def __str__(self) -> str:
        """The form that `Last-Event-ID` and cursors carry."""
        return f"{self.xid}-{self.seq}"

    @classmethod
    def parse(cls, text: str) -> Position | None:
        """The position of `12-345`, or of a CloudEvent's `sequence`; None when the text is not one."""
        match = _CURSOR.fullmatch(text)
        if match is None or int(match[1]) > _MAX_COUNT or int(match[2]) > _MAX_COUNT:
            return None
        return cls(xid=int(match[1]), seq=int(match[2]))

    @property
    def sequence(self) -> str:
        """The form that sorts as text, as the CloudEvents extension `sequence` asks."""
        return f"{self.xid:020d}-{self.seq:020d}"


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


class CloudEvent(Contract):
    """An event in the JSON format of CloudEvents 1.0.2. `id` is unique within `source`: consumers dedupe on both.

    Extensions: `partitionkey` (events of one key stay in order), `sequence` (sorts in commit order), `tenant`, `traceparent`.
    """

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: EventType
    subject: str
    time: UtcTime
    datacontenttype: Literal["application/json"] = "application/json"
    partitionkey: str
    sequence: str
    tenant: TenantId
    traceparent: str | None = None
    data: dict[str, Any]


def source_of(region: str) -> str:
    """The `source` of every event of a region."""
    return f"urn:somagent:{region}"


def cloud_event(event: StoredEvent, region: str) -> CloudEvent:
    """The envelope of an event; the same event in the same region always gets the same one."""
    return CloudEvent(
        id=event.event_id,
        source=source_of(region),
        type=event.type,
        subject=event.subject,
        time=event.time,
        partitionkey=f"{event.tenant_id}/{event.subject}",
        sequence=event.position.sequence,
        tenant=event.tenant_id,
        traceparent=event.traceparent,
        data=event.data,
    )
