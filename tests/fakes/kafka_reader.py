"""Reads topics as a consumer elsewhere would: another client, from the beginning, in the order of each partition."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition


@dataclass(frozen=True)
class Record:
    """One record as it was stored."""

    topic: str
    partition: int
    key: str
    headers: dict[str, str]
    value: bytes

    @property
    def event_id(self) -> str:
        return self.headers["ce_id"]

    @property
    def cloud_event(self) -> BaseCloudEvent:
        headers = {name: value.encode() for name, value in self.headers.items()}
        return from_binary_event(KafkaMessage(headers=headers, key=self.key, value=self.value))


def first_times(records: Iterable[Record]) -> list[Record]:
    """What is left when a consumer drops repeats of source and id."""
    return list({(record.headers["ce_source"], record.event_id): record for record in reversed(list(records))}.values())[::-1]


class KafkaReader:
    """`with KafkaReader(bootstrap, topics) as reader: reader.take_ids(ids)`. Blocks: call it in a thread."""

    def __init__(self, bootstrap: str, topics: Sequence[str]) -> None:
        config: dict[str, Any] = {
            "bootstrap.servers": bootstrap,
            "group.id": f"reader-{uuid4().hex}",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "reconnect.backoff.max.ms": 500,
            "log_level": 2,
        }
        self._consumer = Consumer(config)
        self._topics = topics
        self.records: list[Record] = []

    def __enter__(self) -> Self:
        found = self._consumer.list_topics(timeout=10).topics
        places = [
            TopicPartition(topic, partition, OFFSET_BEGINNING) for topic in self._topics for partition in found[topic].partitions
        ]
        self._consumer.assign(places)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._consumer.close()

    def take_ids(self, wanted: set[str], seconds: float = 20.0) -> list[Record]:
        """Reads until all these events are there, or for that long; all records so far."""
        deadline = time.monotonic() + seconds
        while not wanted <= {record.event_id for record in self.records} and time.monotonic() < deadline:
            self._read(0.1)
        return self.records

    def _read(self, seconds: float) -> None:
        for message in self._consumer.consume(500, seconds):
            if message.error() is not None:
                continue
            headers = {name: value.decode() for name, value in message.headers() or [] if isinstance(value, bytes)}
            self.records.append(
                Record(
                    topic=message.topic() or "",
                    partition=message.partition() or 0,
                    key=(message.key() or b"").decode(),
                    headers=headers,
                    value=message.value() or b"",
                )
            )
