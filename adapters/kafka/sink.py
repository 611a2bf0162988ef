"""Publishes events to Kafka: at least once, in order within a partition key, never dropped.

An event that is too large for a broker goes out as a reference to itself (`dataref`), so it holds nobody else up. Any other
refusal (authorisation, policy, missing topic) stops the relay loudly until it is put right. Should a broker refuse a record for
good while it takes later ones of the same partition, these are stored before it: `sequence` still tells the order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Final

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from adapters.cloudevents import kafka_message, kafka_reference
from adapters.kafka.producer import IdempotentProducer, Outgoing, producer_config
from domain.errors import DependencyUnavailable
from domain.events import StoredEvent
from domain.names import Topic

DELIVERY_SECONDS: Final = 30.0
_METADATA_SECONDS: Final = 5.0
_TOO_LARGE: Final = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})

_log = structlog.get_logger("adapters.kafka.sink")


def _unnoticed(_: StoredEvent) -> None:
    return


class KafkaSink:
    """Implements `EventSink`. One task at a time publishes."""

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        region: str,
        public_url: str,
        config: Mapping[str, str] | None = None,
        topic_partitions: int = 0,
        delivery_seconds: float = DELIVERY_SECONDS,
        referred: Callable[[StoredEvent], None] = _unnoticed,
    ) -> None:
        """Nothing is connected yet. `config` holds further librdkafka settings; `topic_partitions` is what missing topics are
        made with, none with 0; `referred` is told of each event that went out without its data. Raises InvalidRequest."""
        self._config: Final = producer_config(bootstrap_servers, config or {})
        self._region: Final = region
        self._public_url: Final = public_url
        self._partitions: Final = topic_partitions
        self._seconds: Final = delivery_seconds
        self._referred: Final = referred
        self._producer: IdempotentProducer | None = None
        self._topics_seen = topic_partitions == 0

    @property
    def name(self) -> str:
        """Names the sink's position."""
        return "kafka"

    def open(self) -> None:
        """Makes the producer, which connects on its own. Raises InvalidRequest for settings librdkafka does not take."""
        self._ready()

    async def publish(self, events: tuple[StoredEvent, ...]) -> None:
        """Returns when the brokers have acknowledged all. Raises DependencyUnavailable; some may have been stored then."""
        if not self._topics_seen:
            await self._make_topics()
            self._topics_seen = True
        whole = [Outgoing(event.topic.value, kafka_message(event, self._region)) for event in events]
        refused = await self._send(whole)
        # Brokers refuse whole batches: which record is at fault shows when each is sent alone.
        for index in refused:
            if await self._send([whole[index]]):
                await self._refer(events[index])

    async def close(self) -> None:
        """Ends the connection; what was not acknowledged is not sent any more."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.discard()

    def _ready(self) -> IdempotentProducer:
        if self._producer is None:
            self._producer = IdempotentProducer(self._config)
        return self._producer

    async def _refer(self, event: StoredEvent) -> None:
        reference = Outgoing(event.topic.value, kafka_reference(event, self._region, self._public_url))
        if await self._send([reference]):
            raise DependencyUnavailable(
                f"Kafka refuses even a record without data on {event.topic.value}; raise the topic's max.message.bytes."
            )
        self._referred(event)
        _log.warning("event.too_large", event_id=event.event_id, type=event.type.value, topic=event.topic.value)

    async def _send(self, messages: list[Outgoing]) -> list[int]:
        """Sends and gives the places of those refused for their size. Raises DependencyUnavailable for any other failure."""
        try:
            errors = await self._ready().send(messages, self._seconds)
        except BaseException:
            # In doubt, also when this task is cancelled: what it holds must not go out after what a new one sends.
            await self.close()
            raise
        for outgoing, error in zip(messages, errors, strict=True):
            if error is not None and error.code() not in _TOO_LARGE:
                # A producer remembers what it was refused; a new one asks again.
                await self.close()
                self._topics_seen = self._partitions == 0
                raise DependencyUnavailable(f"Kafka refuses records on {outgoing.topic} ({error.name()}); put that right.")
        return [index for index, error in enumerate(errors) if error is not None]

    async def _make_topics(self) -> None:
        """Makes topics that are missing, where the brokers let us; where not, they may still do it on their own."""
        there = await self._ready().topics(_METADATA_SECONDS)
        missing = [topic.value for topic in Topic if topic.value not in there]
        if not missing:
            return
        # Its futures are annotated without what they hold.
        admin: Any = AdminClient(_admin_config(self._config))
        wanted = [NewTopic(name, num_partitions=self._partitions, replication_factor=-1) for name in missing]
        made: dict[str, Future[None]] = admin.create_topics(wanted, request_timeout=_METADATA_SECONDS)
        for name, future in made.items():
            try:
                await asyncio.wrap_future(future)
            except KafkaException as error:
                reason: KafkaError = error.args[0]
                if reason.code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    _log.warning("topic.not_made", topic=name, reason=reason.name())
            else:
                _log.info("topic.made", topic=name, partitions=self._partitions)


def _admin_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The connection's settings without those that only a producer knows, which would be warned about."""
    return {
        name: value
        for name, value in config.items()
        if name.startswith(("bootstrap", "client", "sasl", "ssl", "security", "log_"))
    }
