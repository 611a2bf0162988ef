"""Stored events as CloudEvents 1.0 in Kafka's binary mode: attributes are `ce_` headers, the value is `data` as JSON."""

from __future__ import annotations

from cloudevents.core.bindings.kafka import KafkaMessage, to_binary_event
from cloudevents.core.v1.event import CloudEvent

from domain.events import Position, StoredEvent, cloud_event


def kafka_message(event: StoredEvent, region: str) -> KafkaMessage:
    """The event with its data. The message's key is the extension `partitionkey`."""
    attributes = cloud_event(event, region).model_dump(exclude={"data"}, exclude_none=True)
    return to_binary_event(CloudEvent(attributes, event.data))


def kafka_reference(event: StoredEvent, region: str, public_url: str) -> KafkaMessage:
    """The event without its data, for a broker that refuses its size: `dataref` (the extension of the claim check pattern) is
    where the whole event can be read."""
    attributes = cloud_event(event, region).model_dump(exclude={"data", "datacontenttype"}, exclude_none=True)
    before = Position(xid=event.position.xid, seq=event.position.seq - 1)
    attributes["dataref"] = f"{public_url.rstrip('/')}/v1/events?after={before}&limit=1"
    return to_binary_event(CloudEvent(attributes, None))
