"""What tests of refusals look at: the problem that was answered, and whatever a request may have left behind."""

from __future__ import annotations

import httpx2
from live import Live
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from adapters.postgres.connection import tenant_transaction
from domain.ids import Prefix, format_id
from domain.names import Feature, workflow_id

COUNTS = """
SELECT (SELECT count(*) FROM sessions) sessions, (SELECT count(*) FROM turns) turns, (SELECT count(*) FROM documents) documents,
       (SELECT count(*) FROM decisions) decisions, (SELECT count(*) FROM outbox) outbox, (SELECT count(*) FROM blobs) blobs
"""


async def rows(product: Live, tenant: str) -> dict[str, int]:
    """How many rows a tenant has: row-level security shows no other's."""
    async with tenant_transaction(product.pool, tenant) as connection:
        return dict(await connection.fetchrow(COUNTS) or {})


async def run_of_key(
    product: Live, tenant: str, key: str, feature: Feature, prefix: Prefix
) -> tuple[str, WorkflowExecutionStatus | None] | None:
    """The id that an Idempotency-Key fixed, and how the run of that id stands, None when there is none; None for a key that
    was never claimed."""
    async with tenant_transaction(product.pool, tenant) as connection:
        resource = await connection.fetchval("SELECT resource FROM idempotency_keys WHERE key = $1", key)
    if resource is None:
        return None
    made = format_id(prefix, resource)
    try:
        described = await product.temporal.get_workflow_handle(workflow_id(feature, tenant, made)).describe()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return made, None
    return made, described.status


def assert_problem(answer: httpx2.Response, status: int, kind: str) -> None:
    """A problem document of that type with a sentence for its reader."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"].endswith(f"/problems/{kind}"), problem
    assert problem["status"] == status
    assert problem["trace_id"]
    assert problem["request_id"]
    assert len(problem["detail"].split()) > 4
    assert problem["detail"].endswith((".", ")"))
