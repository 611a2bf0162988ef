"""SIGKILL of the worker at every model call of a session: no journalled call is made twice, and what is unknown is shown.

The vendor counts the calls it got, by Idempotency-Key; the journal says what became of each attempt; the session's budget
must say the same in tokens.
"""

from __future__ import annotations

import asyncio
import random
import sys
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

import pytest
from chaos import drill
from chaos.contract_client import ContractClient
from chaos.ledger import Ledger
from chaos.supervised_stack import SupervisedStack
from fakes.openai_server import FakeOpenAI
from live import until

from adapters.postgres.connection import create_pool, tenant_transaction
from workers.embedded.credentials import DEMO_TENANT

CALLS: Final = {"small": 6, "full": 30}
_LATENCY: Final = 0.5
_ATTEMPTS: Final = """
SELECT c.step_key, c.attempt, c.outcome, c.settlement, c.input_tokens + c.output_tokens AS used, r.state, r.tokens AS bound,
       r.used_tokens
FROM slm_calls c LEFT JOIN reservations r USING (tenant_id, workflow_id, step_key, attempt)
WHERE c.workflow_id = $1 ORDER BY c.step_key, c.attempt
"""
_BUDGET: Final = "SELECT cap, settled, reserved, overrun FROM budgets WHERE scope = 'session'"


@dataclass(frozen=True)
class Attempt:
    """One row of the journal, with its reservation."""

    step_key: str
    outcome: str
    state: str
    billed: int


async def attempts(stack: SupervisedStack, session_id: str) -> tuple[list[Attempt], Any]:
    """The journal of the session, and its budget."""
    pool = await create_pool(stack.environment["DATABASE_URL"], 1, "chaos")
    try:
        async with tenant_transaction(pool, DEMO_TENANT) as connection:
            rows = await connection.fetch(_ATTEMPTS, f"session/{DEMO_TENANT}/{session_id}")
            budget = await connection.fetchrow(_BUDGET)
    finally:
        await pool.close()
    return [
        Attempt(row["step_key"], row["outcome"], row["state"], row["used"] if row["state"] == "settled" else row["bound"])
        for row in rows
    ], budget


async def kill_at(stack: SupervisedStack, model: FakeOpenAI, before: int, source: random.Random) -> None:
    """Kills the worker while the vendor works on the call after the first `before`, or just as it has answered."""
    await model.arrived(before + 1, 60)
    if source.random() < 0.5:
        await asyncio.sleep(source.uniform(0, _LATENCY * 0.8))
    else:
        await until(lambda: _finished(model, before), 60, every=0.002)
        await asyncio.sleep(source.uniform(0, 0.03))
    await stack.kill("worker")


async def _finished(model: FakeOpenAI, number: int) -> bool:
    return model.calls[number].finished


@pytest.mark.drill
@pytest.mark.timeout(1500)
async def test_a_kill_at_every_call_pays_for_nothing_twice(capsys: pytest.CaptureFixture[str]) -> None:
    seed = drill.seed()
    source, calls = random.Random(seed), CALLS["full" if drill.size() is drill.FULL else "small"]
    async with AsyncExitStack() as exits:
        model = await exits.enter_async_context(FakeOpenAI(mode="slow", latency=_LATENCY))
        settings = {"MODEL_BASE_URL": model.url, "MODEL_NAME": "fake-model", "RATE_LIMIT_PER_MINUTE": "100000"}
        stack = await exits.enter_async_context(SupervisedStack(**settings))
        client = ContractClient(stack.gateway_url, stack.credentials, Ledger(), source)
        await exits.enter_async_context(client)
        started = await client.request("POST", "/v1/sessions/start", {}, key=str(uuid.uuid4()))
        session_id: str = started.json()["session_id"]
        budget = {"scope": "session", "scope_id": session_id, "unit": "tokens", "cap": 10_000_000}
        await client.request("POST", "/v1/budgets", budget, key=str(uuid.uuid4()))
        turns: list[dict[str, Any]] = []
        for number in range(calls):
            before = len(model.calls)
            body = {"content": f"Call {number}: what is known about the harbour?"}
            sent = await client.request("POST", f"/v1/sessions/{session_id}/messages", body, key=str(uuid.uuid4()))
            await kill_at(stack, model, before, source)
            url = sent.json()["turn_url"]
            turn: dict[str, Any] = {"completed_at": None}
            while turn["completed_at"] is None:
                turn = await client.get(url, wait=20)
            turns.append(turn)
        await stack.serving("worker")
        found, books = await attempts(stack, session_id)
        counted = model.by_key
    with capsys.disabled():
        sys.stdout.write(f"\nseed {seed}: {_told(turns, found, counted, books)}\n")

    assert [turn["status"] for turn in turns] == ["completed"] * calls
    for key in {attempt.step_key for attempt in found}:
        rows = [attempt for attempt in found if attempt.step_key == key]
        unknown = sum(attempt.outcome == "unknown" for attempt in rows)
        sent_times = counted[f"session/{DEMO_TENANT}/{session_id}/{key}"]
        assert [attempt.outcome for attempt in rows].count("completed") == 1, rows
        assert 1 <= sent_times <= 1 + unknown, (key, sent_times, rows)
        assert {attempt.state for attempt in rows} <= {"settled", "unknown"}, rows
    assert books["reserved"] == 0
    assert books["settled"] == sum(attempt.billed for attempt in found)


def _told(turns: Sequence[Any], found: Sequence[Attempt], counted: Any, books: Any) -> str:
    unknown = sum(attempt.outcome == "unknown" for attempt in found)
    return (
        f"{len(turns)} calls, {len(found)} attempts, {sum(counted.values())} counted by the vendor, {unknown} of unknown end; "
        f"budget: {books['settled']} settled, {books['reserved']} reserved of {books['cap']}"
    )
