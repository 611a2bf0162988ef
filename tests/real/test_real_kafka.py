"""The relay against Apache Kafka itself. Without a JDK, Maven or reach of its repository these are skipped and say so."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from certificates import Authority
from confluent_kafka.admin import AdminClient
from fakes.kafka_reader import first_times
from kafka_broker import CannotRun, KafkaBroker, fetch_jars
from outbox_writer import OutboxWriter
from relay_process import RelayProcess, eventually

from adapters.postgres.connection import Pool, create_pool, tenant_transaction
from adapters.postgres.outbox import event_of, insert_events
from domain.event_data.sessions import TurnCancelled
from domain.ids import Prefix
from domain.names import Topic
from runtime.ids import new_id
from workers.embedded.stack import EmbeddedStack

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    directory = tmp_path_factory.mktemp("kafka")
    try:
        jars = fetch_jars(directory / "jars")
    except CannotRun as reason:
        pytest.skip(str(reason))
    with KafkaBroker(jars, directory) as kafka:
        yield kafka


@pytest.fixture
async def pool(stack: EmbeddedStack) -> AsyncIterator[Pool]:
    pool = await create_pool(stack.environment["DATABASE_URL"], 4, "real-tests")
    yield pool
    await pool.close()


async def test_it_makes_the_topics_and_everything_arrives_once_and_in_order(
    stack: EmbeddedStack, kafka: KafkaBroker, pool: Pool
) -> None:
    writer = OutboxWriter(pool)
    await writer.write()
    with RelayProcess(stack.environment, kafka.bootstrap, KAFKA_TOPIC_PARTITIONS="3") as relay:
        await writer.write()
        await asyncio.to_thread(eventually, lambda: relay.metric("somagent_relay_published_events_total") >= len(writer.ids), 60)
        records = await writer.check(kafka.bootstrap)
        assert len(records) == len(writer.ids)
    topics = AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics(timeout=10).topics
    assert {name: len(topic.partitions) for name, topic in topics.items() if not name.startswith("__")} == {
        topic.value: 3 for topic in Topic
    }


async def test_a_killed_broker_delays_and_never_loses(stack: EmbeddedStack, kafka: KafkaBroker, pool: Pool) -> None:
    writer = OutboxWriter(pool)
    with RelayProcess(stack.environment, kafka.bootstrap) as relay:
        await writer.write()
        await writer.check(kafka.bootstrap)
        await asyncio.to_thread(kafka.kill9)
        await writer.write()
        await asyncio.to_thread(eventually, lambda: relay.metric("somagent_relay_backlog_events") >= 40)
        await asyncio.to_thread(kafka.start)
        await asyncio.to_thread(eventually, lambda: relay.metric("somagent_relay_backlog_events") == 0, 90)
        await writer.check(kafka.bootstrap)


async def test_what_the_broker_finds_too_large_arrives_as_a_reference(
    stack: EmbeddedStack, kafka: KafkaBroker, pool: Pool
) -> None:
    writer = OutboxWriter(pool, sessions=1)
    session = writer.sessions[0]
    await writer.write(1)
    # More than this broker takes and less than the producer's own limit; random, so that it does not compress.
    wide = {"wide": secrets.token_hex(120_000)}
    large = event_of(TurnCancelled(session_id=session, turn_id=new_id(Prefix.TURN), seq=9)).model_copy(update={"data": wide})
    async with tenant_transaction(pool, writer.tenant) as connection:
        await insert_events(connection, writer.tenant, [large])
    await writer.write(1)
    with RelayProcess(stack.environment, kafka.bootstrap) as relay:
        await asyncio.to_thread(eventually, lambda: relay.metric("somagent_relay_referred_events_total") == 1, 60)
        records = first_times(await writer.read(kafka.bootstrap))
    assert {record.event_id for record in records} == writer.ids | {large.event_id}
    assert [record.event_id for record in records if "ce_dataref" in record.headers] == [large.event_id]


async def test_by_tls_with_a_certificate_and_a_password_everything_arrives_and_nothing_by_an_authority_unknown_to_it(
    stack: EmbeddedStack, kafka: KafkaBroker, pool: Pool, tmp_path: Path
) -> None:
    writer = OutboxWriter(pool)
    await writer.write()
    with RelayProcess(stack.environment, **kafka.secure(Authority(tmp_path).authority)) as relay:
        await asyncio.to_thread(eventually, lambda: "certificate verify failed" in relay.log, 60)
        assert relay.metric("somagent_relay_published_events_total") == 0
    with RelayProcess(stack.environment, **kafka.secure(kafka.ours.authority)) as relay:
        await asyncio.to_thread(eventually, lambda: relay.metric("somagent_relay_published_events_total") >= len(writer.ids), 60)
        assert len(await writer.check(kafka.bootstrap)) >= len(writer.ids)
