"""From the outbox to a consumer's hands: everything arrives, in order, whatever dies on the way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import pytest
from fakes.kafka_cluster import KafkaCluster
from outbox_writer import OutboxWriter
from relay_process import RelayProcess, eventually

from adapters.postgres.connection import Pool, connect, create_pool
from domain.names import Topic
from workers.embedded.stack import EmbeddedStack

TOPICS = {topic.value: 3 for topic in Topic}


@pytest.fixture
def kafka() -> Iterator[KafkaCluster]:
    with KafkaCluster(TOPICS) as kafka:
        yield kafka


@pytest.fixture
async def relay_pool(stack: EmbeddedStack) -> AsyncIterator[Pool]:
    pool = await create_pool(stack.environment["DATABASE_URL"], 4, "relay-tests")
    yield pool
    await pool.close()


async def test_everything_arrives_once_and_in_order(stack: EmbeddedStack, kafka: KafkaCluster, relay_pool: Pool) -> None:
    writer = OutboxWriter(relay_pool)
    await writer.write()
    with RelayProcess(stack.environment, kafka.bootstrap) as relay:
        await writer.write()
        records = await writer.check(kafka.bootstrap)
        assert len(records) == len(writer.ids)
        assert {record.topic for record in records} == {"session.events"}
        await asyncio.to_thread(eventually, lambda: relay.metric("somagent_relay_backlog_events") == 0)
        assert relay.metric("somagent_relay_published_events_total") >= len(writer.ids)
        assert await asyncio.to_thread(relay.end) == 0
        said = [json.loads(line)["event"] for line in relay.log.splitlines()]
        assert [event for event in said if event.startswith("relay.")] == ["relay.started", "relay.active", "relay.stopped"]


async def test_an_outage_delays_and_never_loses(stack: EmbeddedStack, kafka: KafkaCluster, relay_pool: Pool) -> None:
    writer = OutboxWriter(relay_pool)
    with RelayProcess(stack.environment, kafka.bootstrap) as relay:
        await writer.write()
        await writer.check(kafka.bootstrap)
        await asyncio.to_thread(kafka.down)
        await writer.write()
        await asyncio.to_thread(eventually, lambda: relay.metric("somagent_relay_backlog_events") >= 40)
        assert await asyncio.to_thread(relay.serves)
        await asyncio.to_thread(kafka.up)
        await writer.check(kafka.bootstrap)
        await asyncio.to_thread(eventually, lambda: relay.metric("somagent_relay_backlog_events") == 0)


async def test_killed_between_publishing_and_advancing_it_repeats_the_same_events(
    stack: EmbeddedStack, kafka: KafkaCluster, relay_pool: Pool
) -> None:
    writer = OutboxWriter(relay_pool)
    holder = await connect(stack.environment["DATABASE_RELAY_URL"], "tests-holder")
    try:
        with RelayProcess(stack.environment, kafka.bootstrap) as relay:
            await writer.write(1)
            await writer.check(kafka.bootstrap)
            # With the table locked the relay can publish and cannot advance. A row's lock would take a transaction id, below
            # which alone events are read.
            await holder.execute("BEGIN; LOCK TABLE relay_positions IN SHARE MODE")
            await writer.write(2)
            await writer.check(kafka.bootstrap)
            await asyncio.to_thread(relay.kill9)
        # Its statement still waits for the lock on the server, and would go through once that is free.
        ended = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE application_name = 'somagent-relay'"
        assert await holder.fetchval(ended) == 1
        await holder.execute("COMMIT")
    finally:
        await holder.close()
    with RelayProcess(stack.environment, kafka.bootstrap):
        last = OutboxWriter(relay_pool)
        await last.write(1)
        await last.check(kafka.bootstrap)
    records = await writer.check(kafka.bootstrap)
    repeated = len(records) - len(writer.ids)
    assert repeated >= 2
    assert len({(record.headers["ce_source"], record.event_id) for record in records}) == len(writer.ids)
    # A repeat is the same record to the last header.
    assert len({(record.event_id, record.value, tuple(sorted(record.headers.items()))) for record in records}) == len(writer.ids)


async def test_a_standby_takes_over_when_the_active_one_is_killed(
    stack: EmbeddedStack, kafka: KafkaCluster, relay_pool: Pool
) -> None:
    writer = OutboxWriter(relay_pool)
    with RelayProcess(stack.environment, kafka.bootstrap) as first:
        await asyncio.to_thread(eventually, first.active)
        with RelayProcess(stack.environment, kafka.bootstrap) as second:
            await writer.write(2)
            await writer.check(kafka.bootstrap)
            assert first.active()
            assert not second.active()
            await asyncio.to_thread(first.kill9)
            await writer.write(2)
            await writer.check(kafka.bootstrap)
            assert second.active()


async def test_postgres_restarted_under_it_loses_nothing(stack: EmbeddedStack, kafka: KafkaCluster) -> None:
    with RelayProcess(stack.environment, kafka.bootstrap) as relay:
        pool = await create_pool(stack.environment["DATABASE_URL"], 4, "relay-tests")
        writer = OutboxWriter(pool)
        await writer.write(2)
        pool.terminate()
        postgres = stack.part("postgres")
        await asyncio.to_thread(postgres.kill9)
        await asyncio.to_thread(eventually, lambda: relay.metric("somagent_relay_failures_total") > 0)
        await asyncio.to_thread(postgres.start)
        again = await create_pool(stack.environment["DATABASE_URL"], 4, "relay-tests")
        writer.pool = again
        await writer.write(2)
        await writer.check(kafka.bootstrap)
        await again.close()


async def test_without_kafka_it_idles_and_says_so(stack: EmbeddedStack) -> None:
    without = {name: value for name, value in stack.environment.items() if name != "DATABASE_RELAY_URL"}
    with RelayProcess(without, None) as relay:
        assert relay.metric("somagent_relay_backlog_events") == 0
        assert await asyncio.to_thread(relay.end) == 0
        assert "KAFKA_BOOTSTRAP_SERVERS is not set" in relay.log
