"""Model requests on a real Postgres: who decides first has decided, with one row and its events, however many try."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime
from typing import Any

from adapters.postgres.connection import Pool, tenant_transaction
from adapters.postgres.slm_requests import PostgresSlmRequests
from domain.actors import Actor
from domain.blobs import BlobRef
from domain.decisions import Decision, GateRequest, Verdict
from domain.names import Effect
from domain.slm import SlmRequestInput

TEXT = BlobRef(sha256="a" * 64, size=1)


class Request:
    """One request of a fresh tenant, with as many decisions as are wanted."""

    def __init__(self, pool: Pool) -> None:
        self.pool, self.store = pool, PostgresSlmRequests(pool)
        actor = Actor(tenant_id=f"t-{uuid.uuid4().hex[:12]}", subject="alice", client_id="cli", scopes=(), jti="j")
        self.tenant = actor.tenant_id
        self.asked = SlmRequestInput(
            request_id=f"slm_{uuid.uuid4().hex}", actor=actor, role="dialogue_reasoning", input=TEXT, text=TEXT, region="local"
        )

    def question(self, step_key: str) -> GateRequest:
        return GateRequest(
            actor=self.asked.actor,
            workflow_id=f"slm/{self.tenant}/{self.asked.request_id}",
            step_key=step_key,
            effects=(Effect.MODEL_CALL,),
            resource=self.asked.request_id,
            text=TEXT,
            region="local",
            at=datetime.now(UTC),
        )

    async def open(self, decision: Decision) -> Decision:
        return await self.store.open(self.asked, "run", self.question("start"), decision, {"facts": 1}, 7)

    async def review(self, decision: Decision) -> Decision:
        return await self.store.review(self.question("review"), decision, {"facts": 2})

    async def rows(self, query: str) -> list[dict[str, Any]]:
        async with tenant_transaction(self.pool, self.tenant) as connection:
            return [dict(row) for row in await connection.fetch(query)]

    async def told(self) -> list[tuple[str, str]]:
        """Type and decision of every event, in order."""
        rows = await self.rows("SELECT type, data FROM outbox ORDER BY xid, seq")
        return [(row["type"].split(".", 1)[1], row["data"]["decision_id"]) for row in rows]


def decision(verdict: Verdict = Verdict.ALLOW) -> Decision:
    return Decision(decision_id=f"dec_{uuid.uuid4().hex}", verdict=verdict, input_digest="b" * 64, decided_at=datetime.now(UTC))


async def test_the_first_decision_stands_and_is_told_once(pool: Pool) -> None:
    request, first, second = Request(pool), decision(Verdict.ESCALATE), decision()
    assert await request.open(first) == first
    assert await request.open(second) == first
    (row,) = await request.rows("SELECT request_id, status, decision_id, forecast_tokens FROM slm_requests")
    assert row == {
        "request_id": request.asked.request_id,
        "status": "awaiting_approval",
        "decision_id": first.decision_id,
        "forecast_tokens": 7,
    }
    decided = await request.rows("SELECT decision_id, verdict, snapshot FROM decisions")
    assert decided == [{"decision_id": first.decision_id, "verdict": "escalate", "snapshot": {"facts": 1}}]
    assert await request.told() == [("decision.recorded.v1", first.decision_id), ("slm_request.accepted.v1", first.decision_id)]


async def test_of_many_that_decide_at_once_one_has(pool: Pool) -> None:
    request = Request(pool)
    kept = await asyncio.gather(*(request.open(decision()) for _ in range(8)))
    assert len({each.decision_id for each in kept}) == 1
    assert len(await request.rows("SELECT FROM slm_requests")) == 1
    assert len(await request.told()) == 2


async def test_the_first_review_stands_and_is_told_once(pool: Pool) -> None:
    request, opened, first = Request(pool), decision(), decision(Verdict.DENY)
    await request.open(opened)
    assert await request.review(first) == first
    assert await request.review(decision()) == first
    assert (await request.told())[2:] == [("decision.recorded.v1", first.decision_id)]
