"""Events on Kafka: CloudEvents in binary mode, acknowledged or sent again, in order within a partition key."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event
from confluent_kafka import KafkaError
from fakes.kafka_cluster import KafkaCluster
from fakes.kafka_reader import KafkaReader, Record, first_times

from adapters.cloudevents import kafka_message
from adapters.kafka.sink import KafkaSink
from domain.errors import DependencyUnavailable, InvalidRequest
from domain.events import CloudEvent, Position, StoredEvent, cloud_event
from domain.ids import Prefix
from domain.names import EventType, Topic
from runtime.ids import new_id

TOPICS = {topic.value: 3 for topic in Topic}
AT = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)


def stored(seq: int, subject: str = "ses_1", topic: Topic = Topic.SESSION_EVENTS, **data: Any) -> StoredEvent:
    return StoredEvent(
        position=Position(xid=7, seq=seq),
        tenant_id="demo",
        event_id=new_id(Prefix.EVENT),
        topic=topic,
        type=EventType.TURN_QUEUED,
        subject=subject,
        time=AT + timedelta(milliseconds=seq),
        data={"seq": seq, **data},
    )


@pytest.fixture(scope="module")
def shared_kafka() -> Iterator[KafkaCluster]:
    with KafkaCluster(TOPICS) as kafka:
        yield kafka


@pytest.fixture
def kafka(shared_kafka: KafkaCluster) -> Iterator[KafkaCluster]:
    yield shared_kafka
    shared_kafka.up()


@pytest.fixture
async def sink(kafka: KafkaCluster) -> AsyncIterator[KafkaSink]:
    sink = sink_for(kafka)
    yield sink
    await sink.close()


def sink_for(kafka: KafkaCluster, seconds: float = 15.0, **options: Any) -> KafkaSink:
    return KafkaSink(kafka.bootstrap, region="local", public_url="http://gateway", delivery_seconds=seconds, **options)


async def publish_patiently(sink: KafkaSink, events: list[StoredEvent]) -> None:
    """As the relay does: the same events again until they are acknowledged."""
    for _ in range(20):
        with contextlib.suppress(DependencyUnavailable):
            return await sink.publish(tuple(events))
    raise AssertionError("never acknowledged")


async def received(kafka: KafkaCluster, events: list[StoredEvent], doubtful: list[StoredEvent] | None = None) -> list[Record]:
    """The records of these events once all are there, and those of the doubtful ones among them."""
    ids = {event.event_id for event in events}
    known = ids | {event.event_id for event in doubtful or ()}

    def read() -> list[Record]:
        with KafkaReader(kafka.bootstrap, list(TOPICS)) as reader:
            return [record for record in reader.take_ids(ids) if record.event_id in known]

    return await asyncio.to_thread(read)


def by_key(records: list[Record]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for record in records:
        found[record.key].append(record.event_id)
    return found


async def test_an_event_is_a_cloud_event_in_binary_mode(kafka: KafkaCluster, sink: KafkaSink) -> None:
    event = stored(1, name="ümlaut").model_copy(update={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})
    await sink.publish((event,))
    (record,) = await received(kafka, [event])
    assert record.topic == "session.events"
    assert record.key == "demo/ses_1"
    assert json.loads(record.value) == {"seq": 1, "name": "ümlaut"}
    assert record.headers == {
        "ce_specversion": "1.0",
        "ce_id": event.event_id,
        "ce_source": "urn:somagent:local",
        "ce_type": "somagent.turn.queued.v1",
        "ce_subject": "ses_1",
        "ce_time": "2026-11-23T12:00:00.124456Z",
        "content-type": "application/json",
        "ce_partitionkey": "demo/ses_1",
        "ce_tenant": "demo",
        "ce_sequence": f"{7:020d}-{1:020d}",
        "ce_traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
    }
    assert Position.parse(record.headers["ce_sequence"]) == event.position


def test_the_json_form_and_the_binary_form_tell_the_same() -> None:
    event = stored(3)
    message = kafka_message(event, "eu")
    assert isinstance(message, KafkaMessage)
    again = from_binary_event(message)
    parsed = CloudEvent.model_validate({**again.get_attributes(), "data": again.get_data()})
    assert parsed == cloud_event(event, "eu")
    assert json.loads(parsed.model_dump_json(exclude_none=True))["time"] == "2026-11-23T12:00:00.126456Z"


async def test_events_of_one_key_stay_in_order(kafka: KafkaCluster, sink: KafkaSink) -> None:
    events = [stored(seq, f"ses_{seq % 7}") for seq in range(1, 400)]
    for start in range(0, len(events), 100):
        await sink.publish(tuple(events[start : start + 100]))
    found = by_key(await received(kafka, events))
    for subject in {event.subject for event in events}:
        assert found[f"demo/{subject}"] == [event.event_id for event in events if event.subject == subject]


@pytest.mark.parametrize("outage", ["down", "stall"])
async def test_an_outage_is_told_in_time_and_nothing_is_sent_after_it(kafka: KafkaCluster, outage: str) -> None:
    sink = sink_for(kafka, seconds=1.0)
    before, during, after = [stored(seq) for seq in (1, 2)], [stored(seq) for seq in (3, 4)], [stored(seq) for seq in (5, 6)]
    await publish_patiently(sink, before)
    getattr(kafka, outage)()
    with pytest.raises(DependencyUnavailable, match="within 1 s"):
        await sink.publish(tuple(during))
    kafka.up()
    await publish_patiently(sink, after)
    await sink.close()
    order = [record.event_id for record in first_times(await received(kafka, before + after, during))]
    # What a stalled broker had received already may be stored, but never behind what was sent later.
    assert order[:2] + order[-2:] == [event.event_id for event in before + after]
    assert set(order[2:-2]) <= {event.event_id for event in during}


async def test_a_second_attempt_delivers_what_the_first_could_not(kafka: KafkaCluster) -> None:
    sink = sink_for(kafka, seconds=1.0)
    events = tuple(stored(seq) for seq in range(1, 20))
    kafka.down()
    with pytest.raises(DependencyUnavailable):
        await sink.publish(events)
    kafka.up()
    await publish_patiently(sink, list(events))
    await sink.close()
    ids = [record.event_id for record in first_times(await received(kafka, list(events)))]
    assert ids == [event.event_id for event in events]


async def test_passing_errors_of_a_broker_are_tried_again_without_doubles(kafka: KafkaCluster, sink: KafkaSink) -> None:
    events = tuple(stored(seq) for seq in range(1, 6))
    kafka.refuse(KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.REQUEST_TIMED_OUT)
    await sink.publish(events)
    assert [record.event_id for record in await received(kafka, list(events))] == [event.event_id for event in events]


async def test_an_event_too_large_goes_out_as_a_reference_and_holds_nobody_up(kafka: KafkaCluster) -> None:
    told: list[StoredEvent] = []
    sink = sink_for(kafka, referred=told.append)
    large = stored(12, padding="x" * 1_100_000)
    events = [stored(11), large, stored(13)]
    await sink.publish(tuple(events))
    await sink.close()
    records = {record.event_id: record for record in await received(kafka, events)}
    assert set(records) == {event.event_id for event in events}
    reference = records[large.event_id]
    assert reference.value == b""
    assert reference.headers["ce_dataref"] == "http://gateway/v1/events?after=7-11&limit=1"
    assert "content-type" not in reference.headers
    assert reference.cloud_event.get_source() == "urn:somagent:local"
    assert told == [large]
    assert b"" not in {record.value for record in records.values() if record is not reference}


async def test_a_batch_a_broker_finds_too_large_is_taken_apart(kafka: KafkaCluster) -> None:
    told: list[StoredEvent] = []
    sink = sink_for(kafka, referred=told.append)
    await sink.publish((stored(20),))
    # The batch of three, then the second of them alone.
    events = [stored(seq) for seq in (21, 22, 23)]
    kafka.refuse(KafkaError.MSG_SIZE_TOO_LARGE, 0, KafkaError.MSG_SIZE_TOO_LARGE)
    await sink.publish(tuple(events))
    await sink.close()
    records = await received(kafka, events)
    assert {record.event_id for record in records} == {event.event_id for event in events}
    assert len(told) == 1
    assert [record.event_id for record in records if record.value == b""] == [event.event_id for event in told]


async def test_a_refusal_for_any_other_reason_is_told_and_nothing_is_dropped(kafka: KafkaCluster, sink: KafkaSink) -> None:
    event = stored(31)
    await sink.publish((stored(30),))
    kafka.refuse(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(DependencyUnavailable, match="TOPIC_AUTHORIZATION_FAILED"):
        await sink.publish((event,))
    await sink.publish((event,))
    assert [record.event_id for record in await received(kafka, [event])] == [event.event_id]


async def test_topics_that_are_there_are_not_made(kafka: KafkaCluster) -> None:
    sink = sink_for(kafka, topic_partitions=3)
    event = stored(40)
    await sink.publish((event,))
    await sink.close()
    assert len(await received(kafka, [event])) == 1


async def test_without_brokers_topics_cannot_be_looked_up_and_that_is_told(kafka: KafkaCluster) -> None:
    kafka.down()
    sink = sink_for(kafka, topic_partitions=3)
    with pytest.raises(DependencyUnavailable, match="KAFKA_BOOTSTRAP_SERVERS"):
        await sink.publish((stored(41),))
    await sink.close()


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"acks": "0"}, "acks"),
        ({"enable.idempotence": "false"}, "enable.idempotence"),
        ({"delivery.timeout.ms": "5"}, "delivery.timeout.ms"),
    ],
)
def test_settings_that_would_break_the_promise_are_refused(config: dict[str, str], named: str) -> None:
    with pytest.raises(InvalidRequest, match=named):
        KafkaSink("127.0.0.1:1", region="local", public_url="http://gateway", config=config)


async def test_settings_librdkafka_does_not_know_are_told() -> None:
    sink = KafkaSink("127.0.0.1:1", region="local", public_url="http://gateway", config={"no.such.thing": "1"})
    with pytest.raises(InvalidRequest, match=r"no\.such\.thing"):
        await sink.publish((stored(50),))
