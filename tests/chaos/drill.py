"""The drill: real processes are killed under real conversations, and then everything is counted.

The conversations and the plan of kills follow a seed; `CHAOS_SEED` repeats them.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chaos.contract_client import ContractClient, request_ids
from chaos.conversation import Conversation
from chaos.evidence import Evidence, read_database, read_histories, read_kafka, read_statuses, read_transcripts, transcript
from chaos.ledger import Ledger
from chaos.sharpshooter import Sharpshooter, Shot, plan
from chaos.supervised_stack import SupervisedStack
from chaos.verdict import Verdict, judge
from fakes.kafka_cluster import KafkaCluster
from fakes.openai_server import FakeOpenAI

from domain.names import Topic

SETTLE_SECONDS: Final = 180
_DOCUMENT: Final = "The harbour was built in 1911. The lighthouse is forty metres high. The orchard has nine hundred trees. "


@dataclass(frozen=True)
class Size:
    """How often each process is killed, how many talk at once, and the pause between two kills in seconds."""

    kills: int
    talks: int
    pauses: tuple[float, float]


SMALL: Final = Size(kills=2, talks=3, pauses=(0.2, 1.5))
FULL: Final = Size(kills=21, talks=5, pauses=(0.5, 4.0))


def size() -> Size:
    """As `DRILL` says: small or full. Raises ValueError for another word."""
    sizes = {"small": SMALL, "full": FULL}
    word = os.environ.get("DRILL") or "small"
    if word not in sizes:
        raise ValueError(f"DRILL={word} is no size; set it to small or full.")
    return sizes[word]


def seed() -> str:
    """`CHAOS_SEED`, or a new one."""
    return os.environ.get("CHAOS_SEED") or secrets.token_hex(4)


async def run(size: Size, seed: str, shots: Sequence[Shot] | None = None) -> Verdict:
    """One drill, from `soma up` to the verdict; nothing is left of it. Raises AssertionError when it cannot be judged."""
    source = random.Random(seed)
    ledger, found = Ledger(), Evidence()
    stop = asyncio.Event()
    shots = plan(size.kills, source, size.pauses) if shots is None else shots
    async with AsyncExitStack() as exits:
        kafka = exits.enter_context(KafkaCluster({topic.value: 3 for topic in Topic}))
        model = await exits.enter_async_context(FakeOpenAI(mode="slow", latency=1.0))
        stack = await exits.enter_async_context(SupervisedStack(**_settings(model, kafka)))
        temporal = await stack.temporal()
        client = await exits.enter_async_context(ContractClient(stack.gateway_url, stack.credentials, ledger, source))
        document = (await client.request("POST", "/v1/documents", _document(), key=f"document-{seed}")).json()["document_id"]
        talks = [Conversation(f"talk-{number}", client, ledger, seed, [document]) for number in range(size.talks)]
        shooter = Sharpshooter(stack, temporal, model, talks, ledger)
        async with asyncio.TaskGroup() as group:
            for talk in talks:
                group.create_task(talk.run(stop))
            group.create_task(_vary(model, source, stop))
            await shooter.fire(shots)
            stop.set()
        await stack.all_serve()
        await settle(client, ledger)
        await read_transcripts(client, ledger, found)
        tenant = stack.credentials.tenant
        await read_database(stack.environment["DATABASE_URL"], tenant, found)
        await read_kafka(kafka, found)
        runs = [f"session/{tenant}/{session_id}" for session_id in ledger.sessions.values()]
        await read_histories(temporal, Path(stack.environment["CODEC_KEY_FILE"]), runs, found)
        await read_statuses(temporal, tenant, found)
        named = [word for violation in ledger.violations for word in request_ids(violation)]
        ledger.violations += [line for word in named for line in stack.told_of(word)]
        stack.keep_logs()
        processes = sorted({shot.process for shot in shots})
        return judge(seed, tenant, ledger, found, shooter.killed, processes)


def _settings(model: FakeOpenAI, kafka: KafkaCluster) -> dict[str, str]:
    return {
        "MODEL_BASE_URL": model.url,
        "MODEL_NAME": "fake-model",
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
        "KAFKA_TOPIC_PARTITIONS": "0",
        # The drill asks on behalf of many through one client.
        "RATE_LIMIT_PER_MINUTE": "100000",
    }


def _document() -> dict[str, str]:
    return {"name": "town.txt", "content": _DOCUMENT * 10, "media_type": "text/plain"}


async def _vary(model: FakeOpenAI, source: random.Random, stop: asyncio.Event) -> None:
    """The model takes half a second to one and a half, so that kills land inside its calls as well as beside them."""
    while not stop.is_set():
        model.latency = source.uniform(0.5, 1.5)
        await asyncio.sleep(0.1)


async def settle(client: ContractClient, ledger: Ledger) -> None:
    """Returns when every acknowledged turn has ended, or the time is up: what has not ended then is lost."""
    open_sessions = {message.session_id for message in ledger.acknowledged}
    try:
        async with asyncio.timeout(SETTLE_SECONDS):
            while open_sessions:
                for session_id in list(open_sessions):
                    turns = await transcript(client, session_id)
                    if all(turn["completed_at"] for turn in turns):
                        open_sessions.remove(session_id)
                await asyncio.sleep(0.3)
    except TimeoutError:
        return
