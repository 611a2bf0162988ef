"""Many recorded decisions: taken by the real gate over varied facts, or copied from one, and inserted in bulk."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pydantic_core
from live import Caller, Live

from activities.gate import Gate
from adapters.cedar.engine import CedarEngine
from adapters.moderation import Re2Moderator
from adapters.postgres.connection import tenant_transaction
from adapters.postgres.identity import PostgresStanding
from adapters.postgres.policy_sets import CurrentPolicySets
from domain.actors import Actor
from domain.blobs import BlobRef
from domain.decisions import Decision, Facts, GateRequest
from domain.names import Effect

EFFECTS = (Effect.TURN_ANSWER, Effect.MODEL_CALL)
BEGAN = datetime(2026, 11, 1, tzinfo=UTC)
_INSERT = """
INSERT INTO decisions (tenant_id, decision_id, workflow_id, step_key, resource, subject, verdict, decision, snapshot, decided_at)
SELECT $1, id, 'session/' || $1 || '/ses_1', id, 'ses_1', 'someone', verdict, decision::jsonb, snapshot::jsonb, decided_at
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])
     AS made (id, verdict, decision, snapshot, decided_at)
"""
_COPY = """
INSERT INTO decisions (tenant_id, decision_id, workflow_id, step_key, resource, subject, verdict, decision, snapshot, decided_at)
SELECT tenant_id, id, workflow_id, id, resource, subject, verdict, jsonb_set(decision, '{decision_id}', to_jsonb(id)), snapshot,
       decided_at
FROM decisions, (SELECT 'dec_' || lpad(to_hex(number), 32, '0') AS id FROM generate_series(1, $2::int) AS number) AS made
WHERE tenant_id = $1 AND decision_id = (SELECT max(decision_id) FROM decisions WHERE tenant_id = $1)
"""


def gate_of(product: Live) -> Gate:
    """The gate as a worker has it, which asks every time which policies are in force."""
    engine = CedarEngine()
    return Gate(
        constitutions=product.services.constitution,
        policy_sets=CurrentPolicySets(product.pool, engine),
        standing=PostgresStanding(product.pool),
        kill_switches=product.services.lease,
        moderator=Re2Moderator(),
        policy=engine,
        blobs=product.services.blobs,
    )


async def decide(
    product: Live, caller: Caller, cases: Iterable[tuple[int, Facts, BlobRef | None]]
) -> list[tuple[Decision, dict[str, Any]]]:
    """The gate's decision on each numbered case; the number is its id and (below 2**20) its minute."""
    gate, client = gate_of(product), caller.client
    actor = Actor(
        tenant_id=caller.tenant, subject="someone", client_id=client.client_id, scopes=client.scopes, jti="j", issued_at=BEGAN
    )
    made: list[tuple[Decision, dict[str, Any]]] = []
    for number, facts, text in cases:
        request = GateRequest(
            actor=actor,
            workflow_id=f"session/{caller.tenant}/ses_1",
            step_key=str(number),
            effects=EFFECTS,
            resource="ses_1",
            text=text,
            facts=facts,
            region="local",
            at=BEGAN + timedelta(minutes=number % 2**20),
        )
        made.append(await gate.decide(request, f"dec_{number:032x}"))
    return made


async def insert(product: Live, tenant: str, made: list[tuple[Decision, dict[str, Any]]]) -> None:
    """Adds them as rows."""
    columns = (
        [decision.decision_id for decision, _ in made],
        [decision.verdict.value for decision, _ in made],
        [decision.model_dump_json() for decision, _ in made],
        [pydantic_core.to_json(snapshot).decode() for _, snapshot in made],
        [decision.decided_at for decision, _ in made],
    )
    async with tenant_transaction(product.pool, tenant) as connection:
        await connection.execute(_INSERT, tenant, *columns)


async def copy_last(product: Live, tenant: str, times: int) -> None:
    """Copies the tenant's last decision so often."""
    async with tenant_transaction(product.pool, tenant) as connection:
        await connection.execute(_COPY, tenant, times)
