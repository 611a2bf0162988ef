"""What the stores hold after a drill: transcripts, turns, model calls, outbox, Kafka and histories, all read anew."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos.contract_client import ContractClient
from chaos.histories import Timeline, chain, decode_all, failed_tasks
from chaos.ledger import Ledger
from fakes.kafka_cluster import KafkaCluster
from fakes.kafka_reader import KafkaReader
from temporalio.client import Client
from temporalio.worker import Replayer

from adapters.postgres.connection import create_pool, tenant_transaction
from domain.names import SearchAttribute, Topic
from runtime.plugin import somagent_plugin
from workflows.sessions import SessionWorkflow

_CALLS = """
SELECT step_key, count(*) AS attempts, count(answer) AS answers, count(*) FILTER (WHERE outcome = 'completed') AS completed,
       count(*) FILTER (WHERE outcome = 'unknown') AS unknown
FROM slm_calls GROUP BY step_key
"""
_EVENTS = "SELECT event_id, topic, type, subject, data FROM outbox"


@dataclass
class Evidence:
    """Everything that is asked of the stores."""

    transcripts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Turns in order, by session."""
    calls: dict[str, dict[str, int]] = field(default_factory=dict)
    """Counts of attempts by step key."""
    events: list[dict[str, Any]] = field(default_factory=list)
    published: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often Kafka holds each (source, id)."""
    sources: set[str] | None = None
    """Of what Kafka holds; None where there is no Kafka."""
    statuses: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Workflow ids by the status of their runs."""
    timelines: dict[str, Timeline] = field(default_factory=dict)
    failed_tasks: Counter[str] = field(default_factory=Counter)
    payloads: int = 0
    runs: int = 0

    def turn_events(self, kind: str) -> Counter[str]:
        """How many events of a type each turn has."""
        found = [event["data"]["turn_id"] for event in self.events if event["type"].split(".")[1:3] == kind.split(".")]
        return Counter(found)


async def transcript(client: ContractClient, session_id: str) -> list[dict[str, Any]]:
    """All turns of a session, page by page."""
    turns: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        page = await client.get(f"/v1/sessions/{session_id}?after={after}&limit=20")
        turns += page["turns"]
        after = page["next"]
    return turns


async def read_transcripts(client: ContractClient, ledger: Ledger, found: Evidence) -> None:
    """Reads every session, and every reply a second time."""
    for session_id in ledger.sessions.values():
        found.transcripts[session_id] = await transcript(client, session_id)
        for turn in found.transcripts[session_id]:
            ledger.read(turn)
            ledger.read(await client.get(f"/v1/sessions/{session_id}/turns/{turn['turn_id']}"))


async def read_database(url: str, tenant: str, found: Evidence) -> None:
    """Model calls and outbox of the tenant."""
    pool = await create_pool(url, 1, "chaos")
    try:
        async with tenant_transaction(pool, tenant) as connection:
            for row in await connection.fetch(_CALLS):
                found.calls[row["step_key"]] = {name: row[name] for name in ("completed", "answers", "attempts", "unknown")}
            names = ("event_id", "topic", "type", "subject", "data")
            found.events = [{name: row[name] for name in names} for row in await connection.fetch(_EVENTS)]
    finally:
        await pool.close()


async def read_kafka(kafka: KafkaCluster, found: Evidence) -> None:
    """What consumers were given, once every event of the outbox is among it or a minute has passed."""
    wanted = {event["event_id"] for event in found.events}

    def read() -> None:
        with KafkaReader(kafka.bootstrap, [topic.value for topic in Topic]) as reader:
            for record in reader.take_ids(wanted, 60):
                found.published[(record.headers["ce_source"], record.event_id)] += 1

    await asyncio.to_thread(read)
    found.sources = {source for source, _ in found.published}


async def read_histories(temporal: Client, codec_key_file: Path, workflow_ids: list[str], found: Evidence) -> None:
    """Decodes and replays every history. Raises when one does not decode, or replays to other commands."""
    replayer = Replayer(workflows=[SessionWorkflow], plugins=[somagent_plugin(codec_key_file)])
    codec = temporal.data_converter.payload_codec
    for workflow_id in workflow_ids:
        histories = await chain(temporal, workflow_id)
        found.runs += len(histories)
        for history in histories:
            found.payloads += await decode_all(codec, history)
            await replayer.replay_workflow(history)
            found.failed_tasks += failed_tasks(history)
        found.timelines[workflow_id] = await Timeline.read(codec, histories)


async def read_statuses(temporal: Client, tenant: str, found: Evidence) -> None:
    """Every run of the tenant that the server knows."""
    async for run in temporal.list_workflows(f"{SearchAttribute.TENANT_ID.value} = '{tenant}'"):
        if run.status is not None:
            found.statuses[run.status.name].add(run.id)
