"""Writes events as the product does, and checks that a Kafka holds them: each once after repeats are dropped, and in order."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from uuid import uuid4

from fakes.kafka_reader import KafkaReader, Record, first_times

from adapters.postgres.connection import Pool, tenant_transaction
from adapters.postgres.outbox import event_of, insert_events
from domain.event_data.sessions import TurnCancelled
from domain.events import NewEvent
from domain.ids import Prefix
from domain.names import Topic
from runtime.ids import new_id


class OutboxWriter:
    """Writes events on turns of a few sessions of one tenant."""

    def __init__(self, pool: Pool, sessions: int = 5) -> None:
        self.pool = pool
        self.tenant = f"t-{uuid4().hex[:12]}"
        self.sessions = [new_id(Prefix.SESSION) for _ in range(sessions)]
        self.written: dict[str, list[str]] = defaultdict(list)

    async def write(self, rounds: int = 4) -> None:
        async def session(subject: str) -> None:
            for _ in range(rounds):
                events = [self._event(subject) for _ in range(2)]
                async with tenant_transaction(self.pool, self.tenant) as connection:
                    await insert_events(connection, self.tenant, events)
                self.written[f"{self.tenant}/{subject}"] += [event.event_id for event in events]

        await asyncio.gather(*(session(subject) for subject in self.sessions))

    def _event(self, subject: str) -> NewEvent:
        return event_of(TurnCancelled(session_id=subject, turn_id=new_id(Prefix.TURN), seq=1))

    @property
    def ids(self) -> set[str]:
        return {event_id for ids in self.written.values() for event_id in ids}

    async def read(self, bootstrap: str) -> list[Record]:
        """All records of this tenant, once every event is among them."""

        def read() -> list[Record]:
            with KafkaReader(bootstrap, [topic.value for topic in Topic]) as reader:
                return [record for record in reader.take_ids(self.ids, 40) if record.key.startswith(f"{self.tenant}/")]

        return await asyncio.to_thread(read)

    async def check(self, bootstrap: str) -> list[Record]:
        """Each event once after repeats are dropped, and in order within its key. All records, repeats included."""
        records = await self.read(bootstrap)
        found: dict[str, list[str]] = defaultdict(list)
        for record in first_times(records):
            found[record.key].append(record.event_id)
        assert found == self.written
        return records
