"""Replays in Postgres: a part counts once, an end is recorded once, and what has ended counts no more."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

from adapters.postgres.connection import Pool, tenant_transaction
from adapters.postgres.policy_replays import PostgresPolicyReplays
from domain.actors import Actor
from domain.policy_replays import CloseReplayCall, NotReplayable, PolicyReplayInput, ReplayPart, ReplayStatus, Skipped


def dec(number: int) -> str:
    return f"dec_{number:032x}"


def asked(tenant: str) -> PolicyReplayInput:
    actor = Actor(tenant_id=tenant, subject="someone", client_id="cli_1", scopes=(), jti="j")
    return PolicyReplayInput(replay_id=f"rpl_{uuid.uuid4().hex}", actor=actor, until=datetime.now(UTC))


async def test_a_part_counts_once_and_an_end_is_recorded_once(pool: Pool) -> None:
    tenant = f"t-{uuid.uuid4().hex[:12]}"
    replays, first = PostgresPolicyReplays(pool), asked(tenant)
    found = ReplayPart(identical=3, skipped=(Skipped(decision_id=dec(4), why=NotReplayable.CHECK_FAILED),))
    for _ in range(2):
        await replays.open(first, "policy-replay/x/y")
        await replays.advance(first, dec(4), found)
    second = first.model_copy(update={"after": dec(4)})
    for _ in range(2):
        await replays.advance(second, dec(5), ReplayPart(identical=1))
        # A late repetition of the first part.
        await replays.advance(first, dec(4), found)
    view = await replays.get(tenant, first.replay_id)
    assert (view.decisions, view.identical, view.changed, view.not_replayable) == (5, 4, 0, 1)

    ended = CloseReplayCall(replay_id=first.replay_id, actor=first.actor, status=ReplayStatus.CANCELLED, parts=())
    await replays.close(ended, "a" * 64)
    await replays.close(ended.model_copy(update={"status": ReplayStatus.COMPLETED}), "b" * 64)
    await replays.advance(second.model_copy(update={"after": dec(5)}), dec(6), ReplayPart(identical=1))
    view = await replays.get(tenant, first.replay_id)
    assert (view.status, view.result_sha256, view.decisions) == (ReplayStatus.CANCELLED, "a" * 64, 5)
    async with tenant_transaction(pool, tenant) as connection:
        told = await connection.fetch("SELECT data FROM outbox WHERE subject = $1", first.replay_id)
    assert [row["data"]["status"] for row in told] == ["cancelled"]
