"""The journal of model calls on a real Postgres: one answer a step, every attempt told once, the lost ones as unknown."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime

import pytest

from adapters.postgres.calls import PostgresCalls
from adapters.postgres.connection import Pool, tenant_transaction
from domain.blobs import BlobRef
from domain.budgets import Reservation
from domain.models import CallOutcome, CallRecord, SlmAnswer
from domain.sessions import Usage

BOUND = Reservation(keys=(), tokens=100)
SESSION, TURN = "ses_" + "1" * 32, "trn_" + "2" * 32


def record(tenant: str, attempt: int = 1, outcome: CallOutcome = CallOutcome.STARTED, **changes: object) -> CallRecord:
    values = {
        "tenant_id": tenant,
        "session_id": SESSION,
        "turn_id": TURN,
        "workflow_id": f"session/{tenant}/{SESSION}",
        "step_key": f"turn/{TURN}/complete",
        "role": "dialogue_reasoning",
        "provider": "soma",
        "model": "m",
        "attempt": attempt,
        "outcome": outcome,
        "at": datetime.now(UTC),
    }
    return CallRecord.model_validate(values | changes)


def completed(tenant: str, attempt: int = 1) -> CallRecord:
    return record(tenant, attempt, CallOutcome.COMPLETED, input_tokens=7, output_tokens=3, latency_ms=12)


def answer(digit: str) -> SlmAnswer:
    reply = BlobRef(sha256=digit * 64, size=1)
    return SlmAnswer(reply=reply, provider="soma", model="m", fallback=True, usage=Usage(input_tokens=7, output_tokens=3))


@pytest.fixture
def tenant() -> str:
    return f"t-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def calls(pool: Pool) -> PostgresCalls:
    return PostgresCalls(pool)


async def told(pool: Pool, tenant: str) -> list[tuple[int, str]]:
    async with tenant_transaction(pool, tenant) as connection:
        rows = await connection.fetch("SELECT data, topic, type, subject FROM outbox ORDER BY xid, seq")
    for row in rows:
        assert (row["topic"], row["type"], row["subject"]) == ("slm.metrics", "somagent.slm_call.recorded.v1", SESSION)
    return [(row["data"]["attempt"], row["data"]["outcome"]) for row in rows]


async def rows(pool: Pool, tenant: str) -> list[tuple[int, str, bool, int]]:
    async with tenant_transaction(pool, tenant) as connection:
        found = await connection.fetch(
            "SELECT attempt, outcome, answer IS NOT NULL AS kept, input_tokens FROM slm_calls ORDER BY 1"
        )
    return [(row["attempt"], row["outcome"], row["kept"], row["input_tokens"]) for row in found]


async def test_a_completed_answer_is_found_by_the_next_attempt(pool: Pool, calls: PostgresCalls, tenant: str) -> None:
    assert await calls.begin(record(tenant), BOUND) is None
    assert await calls.complete(completed(tenant), answer("a")) == answer("a")
    assert await calls.begin(record(tenant, 2), BOUND) == answer("a")
    assert await rows(pool, tenant) == [(1, "completed", True, 7)]
    assert await told(pool, tenant) == [(1, "completed")]


async def test_an_attempt_that_never_ended_becomes_unknown_once(pool: Pool, calls: PostgresCalls, tenant: str) -> None:
    await calls.begin(record(tenant, 1), BOUND)
    await calls.begin(record(tenant, 2), BOUND)
    await calls.begin(record(tenant, 3), BOUND)
    await calls.complete(completed(tenant, 3), answer("a"))
    assert [row[:3] for row in await rows(pool, tenant)] == [(1, "unknown", False), (2, "unknown", False), (3, "completed", True)]
    assert await told(pool, tenant) == [(1, "unknown"), (2, "unknown"), (3, "completed")]


async def test_a_late_attempt_that_completes_is_put_right_and_the_first_answer_stands(
    pool: Pool, calls: PostgresCalls, tenant: str
) -> None:
    await calls.begin(record(tenant, 1), BOUND)
    await calls.begin(record(tenant, 2), BOUND)
    assert await calls.complete(completed(tenant, 1), answer("a")) == answer("a")
    assert await calls.complete(completed(tenant, 2), answer("b")) == answer("a")
    assert await rows(pool, tenant) == [(1, "completed", True, 7), (2, "completed", False, 7)]
    assert await told(pool, tenant) == [(1, "unknown"), (1, "completed"), (2, "completed")]


async def test_two_that_complete_at_once_agree(pool: Pool, calls: PostgresCalls, tenant: str) -> None:
    await asyncio.gather(*(calls.begin(record(tenant, attempt), BOUND) for attempt in (1, 2, 3)))
    given = await asyncio.gather(*(calls.complete(completed(tenant, n), answer(str(n))) for n in (1, 2, 3)))
    assert len(set(given)) == 1
    kept = await rows(pool, tenant)
    assert [row[1] for row in kept] == ["completed"] * 3
    assert sum(row[2] for row in kept) == 1


@pytest.mark.parametrize("outcome", [CallOutcome.FAILED, CallOutcome.CANCELLED])
async def test_an_attempt_ends_once(pool: Pool, calls: PostgresCalls, tenant: str, outcome: CallOutcome) -> None:
    await calls.begin(record(tenant), BOUND)
    await calls.end(record(tenant, 1, outcome, error_type="model-unavailable"))
    await calls.end(record(tenant, 1, CallOutcome.FAILED))
    assert await told(pool, tenant) == [(1, outcome.value)]
    await calls.begin(record(tenant, 2), BOUND)
    await calls.complete(completed(tenant, 2), answer("a"))
    await calls.end(record(tenant, 2, CallOutcome.CANCELLED))
    assert await told(pool, tenant) == [(1, outcome.value), (2, "completed")]


async def test_an_attempt_number_that_comes_again_begins_anew_and_the_former_stays(
    pool: Pool, calls: PostgresCalls, tenant: str
) -> None:
    await calls.begin(record(tenant), BOUND)
    await calls.end(record(tenant, 1, CallOutcome.FAILED))
    await calls.begin(record(tenant), BOUND)
    assert await calls.complete(completed(tenant), answer("a")) == answer("a")
    assert await rows(pool, tenant) == [(-1, "failed", False, 0), (1, "completed", True, 7)]
    assert await told(pool, tenant) == [(1, "failed"), (1, "completed")]


async def test_steps_and_tenants_are_apart(calls: PostgresCalls, tenant: str) -> None:
    await calls.begin(record(tenant), BOUND)
    await calls.complete(completed(tenant), answer("a"))
    assert await calls.begin(record(tenant, step_key="another"), BOUND) is None
    other = f"{tenant}-o"
    assert await calls.begin(record(other, workflow_id=record(tenant).workflow_id), BOUND) is None
