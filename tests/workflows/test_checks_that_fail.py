"""A check that cannot be made is no permission, and for a while no refusal either: what was taken on is decided later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fakes.openai_server import FakeOpenAI
from live import Caller, until

from adapters.postgres.connection import connect, create_pool, tenant_transaction
from workers.embedded.stack import EmbeddedStack


@asynccontextmanager
async def nobody_can_be_identified(stack: EmbeddedStack) -> AsyncIterator[None]:
    """Within the block every question whether a client stands hangs; decisions and turns can be written."""
    connection = await connect(stack.environment["DATABASE_MIGRATION_URL"])
    try:
        await connection.execute("BEGIN; LOCK TABLE clients IN ACCESS EXCLUSIVE MODE")
        yield
    finally:
        await connection.close()


async def turns_of(stack: EmbeddedStack, tenant: str, session: str) -> list[str]:
    """The statuses of a session's turns, past the gateway, which identifies its callers too."""
    pool = await create_pool(stack.environment["DATABASE_URL"], 1)
    try:
        async with tenant_transaction(pool, tenant) as connection:
            rows = await connection.fetch("SELECT status FROM turns WHERE session_id = $1 ORDER BY seq", session)
    finally:
        await pool.close()
    return [row["status"] for row in rows]


async def test_turns_are_decided_once_their_checks_can_be_made_again(
    stack: EmbeddedStack, caller: Caller, model: FakeOpenAI
) -> None:
    session = (await caller.start()).json()["session_id"]
    earlier = len(model.calls)
    with model.held():
        await caller.send(session, "the first one runs, and its answer is reviewed", wait=0)
        await model.arrived(earlier + 1)
        await caller.send(session, "the second one waits behind it", wait=0)
        # An answer about the client is remembered for a second.
        await asyncio.sleep(1.1)
        blocked = nobody_can_be_identified(stack)
        await blocked.__aenter__()
    try:
        # Longer than one decision may take.
        await asyncio.sleep(3.0)
        statuses = await turns_of(stack, caller.tenant, session)
        assert statuses == ["running", "queued"], "nothing goes on unchecked, and nothing is refused"
    finally:
        await blocked.__aexit__(None, None, None)

    async def ended() -> list[str] | None:
        turns = (await caller.transcript(session))["turns"]
        return [turn["status"] for turn in turns] if all(turn["completed_at"] for turn in turns) else None

    assert await until(ended, 30) == ["completed", "completed"]
