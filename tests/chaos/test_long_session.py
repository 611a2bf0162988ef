"""A hundred turns of two thousand tokens beside as many documents as a session takes: the history stays small."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from typing import Final

import pytest
from chaos import drill
from chaos.histories import chain, payloads
from chaos.own_product import OwnProduct, own_product
from live import Caller
from temporalio.client import WorkflowHistory

TURNS: Final = 100
TOKENS: Final = 2_000
DOCUMENTS: Final = 50
DOCUMENT_BYTES: Final = 5 * 1024
CHAIN_BYTES: Final = 5 * 1000 * 1000
PAYLOAD_BYTES: Final = 32 * 1024
EVENTS_BEFORE_CONTINUING: Final = 500
_WORDS: Final = ("harbour", "orchard", "lighthouse", "violin", "glacier", "market", "railway", "telescope", "meadow", "archive")


def words(source: random.Random, count: int) -> str:
    """About so many tokens."""
    return " ".join(source.choice(_WORDS) for _ in range(count))


async def talk(caller: Caller, source: random.Random) -> str:
    """The id of a session that has answered every message."""
    documents = [
        await caller.document(words(source, DOCUMENT_BYTES // 7)[:DOCUMENT_BYTES], f"{number}.txt") for number in range(DOCUMENTS)
    ]
    started = await caller.start(documents=documents)
    assert started.status_code == 201, started.text
    session_id: str = started.json()["session_id"]
    for number in range(TURNS):
        answer = await caller.send(session_id, f"Message {number}: {words(source, TOKENS)}", wait=60)
        assert answer.status_code == 200, answer.text
        assert answer.json()["turn"]["status"] == "completed"
    return session_id


def report(histories: Sequence[WorkflowHistory], reported: int) -> tuple[int, int, str]:
    """Bytes of the chain, of its largest payload, and a line that says so."""
    events = [event for history in histories for event in history.events]
    total = sum(event.ByteSize() for event in events)
    largest = max(payload.ByteSize() for event in events for payload in payloads(event))
    line = (
        f"{TURNS} turns of {TOKENS} tokens, {DOCUMENTS} documents of 5 KiB: {len(histories)} runs, {len(events)} events, "
        f"{total / 1e6:.2f} MB of history ({reported / 1e6:.2f} MB as the server counts), {total / TURNS:.0f} bytes a turn, "
        f"largest payload {largest / 1024:.1f} KiB"
    )
    return total, largest, line


async def reported_size(product: OwnProduct, workflow_id: str, histories: Sequence[WorkflowHistory]) -> int:
    """The sizes of all runs, as the server counts them."""
    total = 0
    for history in histories:
        run_id = history.events[0].workflow_execution_started_event_attributes.original_execution_run_id
        described = await product.running.temporal.get_workflow_handle(workflow_id, run_id=run_id).describe()
        total += described.raw_description.workflow_execution_info.history_size_bytes
    return total


@pytest.mark.drill
@pytest.mark.timeout(900)
async def test_a_hundred_turns_keep_the_history_small(capsys: pytest.CaptureFixture[str]) -> None:
    source = random.Random(drill.seed())
    config = {"limit.historyCount.suggestContinueAsNew": str(EVENTS_BEFORE_CONTINUING)}
    async with own_product(config) as product, product.running.caller() as caller:
        product.model.mode = "ok"
        session_id = await talk(caller, source)
        workflow_id = product.running.run_of(session_id, caller.tenant)
        histories = await chain(product.running.temporal, workflow_id)
        total, largest, line = report(histories, await reported_size(product, workflow_id, histories))
        turns = (await caller.transcript(session_id))["turns"]
    with capsys.disabled():
        sys.stdout.write(f"\n{line}\n")

    assert [turn["seq"] for turn in turns] == list(range(1, TURNS + 1))
    assert len(histories) > 1, "the session was to continue as new at least once"
    assert all(len(history.events) > 10 for history in histories[:-1])
    assert total < CHAIN_BYTES
    assert largest <= PAYLOAD_BYTES
