"""The product in this process on servers of its own, to be configured, stopped and frozen; and clients that talk to it."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from chaos.contract_client import ContractClient
from chaos.conversation import Conversation
from chaos.drill import settle
from chaos.evidence import Evidence, read_database, read_histories, read_statuses, read_transcripts
from chaos.ledger import Ledger
from chaos.verdict import Verdict, judge
from fakes.openai_server import FakeOpenAI
from live import Live, live
from pydantic import SecretStr

from workers.embedded.credentials import Credentials
from workers.embedded.stack import EmbeddedStack

TALKS = 3


@dataclass
class OwnProduct:
    """Gateway and workers here, the servers as children that die with this process, the model a fake."""

    stack: EmbeddedStack
    running: Live
    model: FakeOpenAI


@asynccontextmanager
async def own_product(dynamic_config: Mapping[str, str] | None = None) -> AsyncIterator[OwnProduct]:
    """`dynamic_config` (JSON values) is Temporal's. Nothing is left afterwards."""
    with tempfile.TemporaryDirectory(prefix="soma-chaos-") as directory:
        stack = EmbeddedStack(Path(directory) / "home", dynamic_config=dynamic_config, tied=True)
        try:
            await asyncio.to_thread(stack.start)
            async with (
                FakeOpenAI(mode="slow", latency=0.6) as model,
                live(stack, model_base_url=model.url, model_name="fake-model") as running,
            ):
                yield OwnProduct(stack, running, model)
        finally:
            await asyncio.to_thread(stack.stop)


@dataclass
class Talk:
    """Clients of a tenant of its own: what they do, and what becomes of it."""

    product: OwnProduct
    seed: str
    client: ContractClient
    tenant: str
    ledger: Ledger
    documents: list[str]

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """Within the block clients talk; after it each has had its last message acknowledged."""
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for number in range(TALKS):
                conversation = Conversation(f"talk-{number}", self.client, self.ledger, self.seed, self.documents)
                group.create_task(conversation.run(stop))
            yield
            stop.set()

    async def verdict(self) -> Verdict:
        """Waits until every turn has ended, then holds the stores against what the clients were told."""
        await settle(self.client, self.ledger)
        found, environment = Evidence(), self.product.stack.environment
        await read_transcripts(self.client, self.ledger, found)
        await read_database(environment["DATABASE_URL"], self.tenant, found)
        runs = [f"session/{self.tenant}/{session_id}" for session_id in self.ledger.sessions.values()]
        await read_histories(self.product.running.temporal, self.product.stack.keys.codec, runs, found)
        await read_statuses(self.product.running.temporal, self.tenant, found)
        return judge(self.seed, self.tenant, self.ledger, found)


@asynccontextmanager
async def talkers(product: OwnProduct, seed: str) -> AsyncIterator[Talk]:
    """Clients that have not begun to talk."""
    async with AsyncExitStack() as exits:
        caller = await exits.enter_async_context(product.running.caller())
        secret = SecretStr(caller.client.secret)
        credentials = Credentials(client_id=caller.client.client_id, client_secret=secret, tenant=caller.tenant)
        ledger = Ledger()
        client = ContractClient(product.running.url, credentials, ledger, random.Random(seed))
        await exits.enter_async_context(client)
        document = await caller.document("The lighthouse is forty metres high.")
        yield Talk(product, seed, client, caller.tenant, ledger, [document])
