"""Redis emptied again and again during turns: it holds only what may be lost, so nobody notices."""

from __future__ import annotations

import asyncio
import random
import sys

import pytest
from chaos import drill
from chaos.own_product import own_product, talkers
from redis.asyncio import Redis


@pytest.mark.drill
@pytest.mark.timeout(400)
async def test_redis_emptied_during_turns(capsys: pytest.CaptureFixture[str]) -> None:
    seed = f"{drill.seed()}-emptied"
    source = random.Random(seed)
    async with own_product() as product, talkers(product, seed) as talk:
        async with talk.going_on(), Redis.from_url(product.stack.environment["REDIS_URL"]) as redis:
            for _ in range(30 if drill.size() is drill.SMALL else 150):
                await asyncio.sleep(source.uniform(0.1, 0.6))
                await redis.flushall()
        verdict = await talk.verdict()
    with capsys.disabled():
        sys.stdout.write(f"\nredis emptied\n{verdict.table}\n")

    assert verdict.lost == {}
    assert verdict.doubled == {}
    assert verdict.faults == []
    assert verdict.ledger.acknowledged
    # The same key twice at once is "in progress" for one of the two; nothing else is refused.
    assert {name for name in verdict.ledger.answers if not name.startswith("20")} <= {"409 request-in-progress"}
