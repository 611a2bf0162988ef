"""The relay process: carries events from the outbox to Kafka, at least once and in order. One of several is active.

The position moves only after the brokers have acknowledged, so whatever is killed between the two is sent again with the same
source and id. Rows stay in the outbox; a sink that is new begins with the oldest.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge
from pydantic import SecretStr

from adapters.kafka.sink import KafkaSink
from adapters.postgres.events import PostgresOutboxFeed
from domain.errors import DependencyUnavailable, InvalidRequest
from domain.events import StoredEvent
from domain.ports.events import EventSink, OutboxFeed
from runtime.admin import admin_app, serve
from runtime.logs import configure_logs
from runtime.metrics import new_registry
from runtime.settings import Settings
from workers.processes import stop_event

BATCH: Final = 500
_IDLE_SECONDS: Final = 1.0
_MEASURE_SECONDS: Final = 2.0
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0
_GRACE_SECONDS: Final = 5.0

log = structlog.get_logger("workers.relay")


class RelayMetrics:
    """What operators watch. Backlog and last success are the active relay's; a standby shows none."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Registers the metrics; once per registry."""
        self.active: Final = Gauge("somagent_relay_active", "1 on the active relay, 0 on a standby.", registry=registry)
        self.backlog: Final = Gauge("somagent_relay_backlog_events", "Events written and not yet published.", registry=registry)
        self.last_success: Final = Gauge(
            "somagent_relay_last_success_timestamp_seconds",
            "When the sink last had all it was given, or there was nothing to give.",
            registry=registry,
        )
        self.failures: Final = Counter("somagent_relay_failures", "Attempts that failed and are repeated.", registry=registry)
        self._published = Counter("somagent_relay_published_events", "Events published.", ("topic",), registry=registry)
        self._referred = Counter(
            "somagent_relay_referred_events",
            "Events too large for a broker, published without data.",
            ("topic",),
            registry=registry,
        )

    def published(self, events: tuple[StoredEvent, ...]) -> None:
        """These were acknowledged."""
        for event in events:
            self._published.labels(event.topic.value).inc()

    def referred(self, event: StoredEvent) -> None:
        """This one went out as a reference."""
        self._referred.labels(event.topic.value).inc()


class Relay:
    """The loop: take the place, read, publish, advance."""

    def __init__(self, feed: OutboxFeed, sink: EventSink, metrics: RelayMetrics) -> None:
        """Neither is connected before `run`."""
        self._feed: Final = feed
        self._sink: Final = sink
        self._metrics: Final = metrics
        self._measured = 0.0
        self._pause = _FIRST_PAUSE
        self._was_active = False

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop; failures of Postgres and Kafka delay and never end it."""
        while not stop.is_set():
            try:
                await self._turn(stop)
                self._pause = _FIRST_PAUSE
            except DependencyUnavailable as error:
                self._metrics.failures.inc()
                log.warning("relay.delayed", reason=error.detail, again_in_seconds=self._pause)
                await _sleep(stop, self._pause)
                self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    async def _turn(self, stop: asyncio.Event) -> None:
        active = await self._feed.acquire()
        self._tell(active)
        if not active:
            await _sleep(stop, _IDLE_SECONDS)
            return
        events = await self._feed.next(self._sink.name, BATCH)
        if events:
            await self._publish(events)
            await self._feed.advance(self._sink.name, events[-1].position)
            self._metrics.published(events)
        self._metrics.last_success.set_to_current_time()
        await self._measure()
        if not events:
            await self._feed.wait(_IDLE_SECONDS)

    async def _publish(self, events: tuple[StoredEvent, ...]) -> None:
        """Publishes, and meanwhile keeps looking after the place and the backlog: an outage may take a while."""
        publishing = asyncio.create_task(self._sink.publish(events))
        try:
            while not publishing.done():
                await asyncio.wait({publishing}, timeout=_MEASURE_SECONDS)
                if not publishing.done():
                    await self._measure()
            await publishing
        finally:
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)

    async def _measure(self) -> None:
        now = time.monotonic()
        if now - self._measured >= _MEASURE_SECONDS:
            self._metrics.backlog.set(await self._feed.backlog(self._sink.name))
            self._measured = now

    def _tell(self, active: bool) -> None:
        self._metrics.active.set(int(active))
        if active != self._was_active:
            self._was_active = active
            log.info("relay.active" if active else "relay.standby", sink=self._sink.name)
        if not active:
            self._metrics.backlog.set(0)


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


def _needed(url: SecretStr | None) -> str:
    if url is None:
        raise InvalidRequest(
            "DATABASE_RELAY_URL is not set; set it to the relay's Postgres address, or unset KAFKA_BOOTSTRAP_SERVERS."
        )
    return url.get_secret_value()


async def _relay(settings: Settings, bootstrap_servers: str, metrics: RelayMetrics, stop: asyncio.Event) -> None:
    feed = PostgresOutboxFeed(_needed(settings.database_relay_url))
    sink = KafkaSink(
        bootstrap_servers,
        region=settings.region,
        public_url=settings.public_url,
        config=settings.kafka_config,
        topic_partitions=settings.kafka_topic_partitions,
        referred=metrics.referred,
    )
    # Settings that cannot be used end the process now and not with the first event.
    sink.open()
    running = asyncio.create_task(Relay(feed, sink, metrics).run(stop))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        # What is on its way may still be acknowledged, which spares consumers the repeats.
        await asyncio.wait({running}, timeout=_GRACE_SECONDS)
        if running.done():
            await running
    finally:
        for task in (running, stopping):
            task.cancel()
        await asyncio.gather(running, stopping, return_exceptions=True)
        await sink.close()
        await feed.close()


async def run_relay(settings: Settings) -> None:
    """Runs until SIGTERM or SIGINT. Without KAFKA_BOOTSTRAP_SERVERS it only says so and answers on its admin port: its metrics
    are 0 and it asks nothing of Postgres. Raises DependencyUnavailable when its port is taken, InvalidRequest for settings."""
    configure_logs("relay", settings.log_level)
    stop = stop_event()
    registry = new_registry()
    metrics = RelayMetrics(registry)

    async def running() -> bool:
        return not stop.is_set()

    async with serve(admin_app(registry, running), settings.admin_host, settings.relay_admin_port) as port:
        log.info("relay.started", admin_port=port)
        if settings.kafka_bootstrap_servers:
            await _relay(settings, settings.kafka_bootstrap_servers, metrics, stop)
        else:
            log.info("relay.idle", reason="KAFKA_BOOTSTRAP_SERVERS is not set; events are served from the outbox alone.")
            await stop.wait()
    log.info("relay.stopped")
