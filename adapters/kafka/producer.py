"""One idempotent producer and the thread that serves its callbacks.

Its messages never time out on their own: a message that gave up while later ones still go would change their order. Instead the
whole producer is thrown away with everything it still holds, and a new one sends again.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cloudevents.core.bindings.kafka import KafkaMessage
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from domain.errors import DependencyUnavailable, InvalidRequest

_POLL_SECONDS: Final = 0.1
_OURS: Final[dict[str, Any]] = {
    "enable.idempotence": True,
    "acks": "all",
    "message.timeout.ms": 0,
    # Java's choice of partition, so that other producers of the same keys agree.
    "partitioner": "murmur2_random",
}
_ALIASES: Final = frozenset({"request.required.acks", "delivery.timeout.ms", "transactional.id", "bootstrap.servers"})
_DEFAULTS: Final[dict[str, Any]] = {
    "client.id": "somagent-relay",
    "linger.ms": 5,
    "compression.type": "lz4",
    "reconnect.backoff.max.ms": 2000,
    # What matters is told by the errors we raise; the library would repeat each attempt to connect.
    "log_level": 2,
}


@dataclass(frozen=True)
class Outgoing:
    """A message and the topic it goes to."""

    topic: str
    message: KafkaMessage


def producer_config(bootstrap_servers: str, extra: Mapping[str, str]) -> dict[str, Any]:
    """Settings for librdkafka. Raises InvalidRequest for those that would break what the relay promises."""
    taken = sorted(name for name in extra if name in _OURS or name in _ALIASES)
    if taken:
        raise InvalidRequest(f"KAFKA_CONFIG may not set {', '.join(taken)}; leave it out.")
    return {**_DEFAULTS, **extra, **_OURS, "bootstrap.servers": bootstrap_servers}


class _Delivery:
    """Collects the reports of messages sent together; `done` gives each message's error, or None."""

    def __init__(self, count: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._left = count
        self.errors: list[KafkaError | None] = [None] * count
        self.done: asyncio.Future[None] = self._loop.create_future()

    def report(self, index: int, error: KafkaError | None) -> None:
        """Called in the polling thread, or by `send` for what was not even taken."""
        self.errors[index] = error
        self._left -= 1
        if self._left == 0:
            self.end(None)

    def end(self, error: BaseException | None) -> None:
        """All are reported, or the producer is broken."""

        def finish() -> None:
            if self.done.done():
                return
            if error is None:
                self.done.set_result(None)
            else:
                self.done.set_exception(error)

        self._loop.call_soon_threadsafe(finish)


class IdempotentProducer:
    """Made when it is needed, thrown away when it is in doubt; `send` is called by one task at a time."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Starts its thread; connects on its own. Raises InvalidRequest for settings librdkafka does not take."""
        self._trouble = ""
        try:
            self._producer = Producer({**config, "error_cb": self._note})
        except KafkaException as error:
            raise InvalidRequest(f"KAFKA_CONFIG cannot be used: {_text(error)}; correct it.") from None
        self._current: _Delivery | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="kafka-poll", daemon=True)
        self._thread.start()

    async def send(self, messages: Sequence[Outgoing], seconds: float) -> list[KafkaError | None]:
        """Sends in order and waits for every report; the error of each message, None for what is acknowledged. Raises
        DependencyUnavailable after that time or when the producer broke: it must be discarded then."""
        delivery = self._current = _Delivery(len(messages))
        for index, outgoing in enumerate(messages):
            self._take(delivery, index, outgoing)
        try:
            async with asyncio.timeout(seconds):
                await delivery.done
        except TimeoutError:
            raise DependencyUnavailable(
                f"Kafka did not acknowledge within {seconds:g} s ({self._trouble or 'it said nothing'}); see that "
                "KAFKA_BOOTSTRAP_SERVERS names running brokers."
            ) from None
        finally:
            self._current = None
        return delivery.errors

    async def topics(self, seconds: float) -> frozenset[str]:
        """Names of all topics. Raises DependencyUnavailable."""
        try:
            return frozenset((await asyncio.to_thread(self._producer.list_topics, timeout=seconds)).topics)
        except KafkaException as error:
            raise DependencyUnavailable(
                f"Kafka does not answer ({self._trouble or _text(error)}); see that KAFKA_BOOTSTRAP_SERVERS names running "
                "brokers."
            ) from None

    async def discard(self) -> None:
        """Forgets what is not acknowledged and closes; nothing is sent after that."""
        await asyncio.to_thread(self._discard)

    def _take(self, delivery: _Delivery, index: int, outgoing: Outgoing) -> None:
        def reported(error: KafkaError | None, _: Message[Any, Any]) -> None:
            delivery.report(index, error)

        message = outgoing.message
        headers: list[tuple[str, str | bytes | None]] = [*message.headers.items()]
        try:
            self._producer.produce(outgoing.topic, message.value, message.key, headers=headers, on_delivery=reported)
        except KafkaException as error:
            # Too large for the producer itself.
            delivery.report(index, error.args[0])
        except BufferError:
            raise DependencyUnavailable(
                "The producer's queue is full; raise queue.buffering.max.kbytes in KAFKA_CONFIG."
            ) from None

    def _note(self, error: KafkaError) -> None:
        # That all are down is what follows from the trouble with each.
        if error.code() != KafkaError._ALL_BROKERS_DOWN or not self._trouble:
            self._trouble = error.str()

    def _poll(self) -> None:
        while not self._stop.is_set():
            try:
                self._producer.poll(_POLL_SECONDS)
            except (KafkaException, SystemError) as error:
                # A fatal error is raised here, in the midst of callbacks: whatever was not reported is unknown.
                self._break(error)
                return

    def _break(self, error: Exception) -> None:
        if (delivery := self._current) is not None:
            name = type(error).__name__
            delivery.end(DependencyUnavailable(f"The Kafka producer broke ({name}); a new one is made and sends again."))

    def _discard(self) -> None:
        self._producer.purge()
        self._stop.set()
        self._thread.join()
        try:
            self._producer.poll(0)
            self._producer.close()
        except (KafkaException, SystemError):
            # It is broken, which is why it goes.
            return


def _text(error: KafkaException) -> str:
    reason: KafkaError = error.args[0]
    return reason.str()
