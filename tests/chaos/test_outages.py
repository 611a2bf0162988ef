"""Servers that are stopped, or hang, for seconds during requests: documented answers, and nothing lost or doubled."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import psutil
import pytest
from chaos import drill
from chaos.own_product import OwnProduct, own_product, talkers

from workers.embedded.part import descendants

Outage = Literal["stopped", "frozen"]


@pytest.fixture(scope="module")
async def product() -> AsyncIterator[OwnProduct]:
    async with own_product() as product:
        yield product


@asynccontextmanager
async def outage(product: OwnProduct, part: str, kind: Outage) -> AsyncIterator[None]:
    """Within the block the server refuses every connection, or takes them and says nothing."""
    child = product.stack.part(part)
    if kind == "stopped":
        await asyncio.to_thread(child.stop)
        try:
            yield
        finally:
            await asyncio.to_thread(child.start)
        return
    assert child.pid is not None
    family = [psutil.Process(child.pid), *descendants(child.pid)]
    for process in family:
        process.suspend()
    try:
        yield
    finally:
        for process in reversed(family):
            process.resume()


def seconds(part: str, kind: Outage, source: random.Random) -> float:
    """How long: a request waits fifteen seconds for a Temporal that is away before it is told so, and none may begin at once."""
    return source.uniform(24.0, 26.0) if (part, kind) == ("temporal", "stopped") else source.uniform(3.5, 6.0)


@pytest.mark.drill
@pytest.mark.timeout(500)
@pytest.mark.parametrize("kind", ["stopped", "frozen"])
@pytest.mark.parametrize("part", ["postgres", "temporal", "valkey"])
async def test_an_outage_in_the_middle_of_requests(
    product: OwnProduct, part: str, kind: Outage, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = f"{drill.seed()}-{part}-{kind}"
    source = random.Random(seed)
    outages = 1 if drill.size() is drill.SMALL else 4
    async with talkers(product, seed) as talk:
        async with talk.going_on():
            for _ in range(outages):
                await asyncio.sleep(source.uniform(1.5, 3.0))
                async with outage(product, part, kind):
                    await asyncio.sleep(seconds(part, kind, source))
            await asyncio.sleep(3)
        verdict = await talk.verdict()
    with capsys.disabled():
        sys.stdout.write(f"\n{part} {kind}\n{verdict.table}\n")

    assert verdict.lost == {}
    assert verdict.doubled == {}
    assert verdict.faults == []
    unavailable = talk.ledger.answers["503 dependency-unavailable"]
    if part == "valkey":
        assert unavailable == 0, "everything is right without Redis"
    elif kind == "stopped":
        assert unavailable > 0, "an outage of seconds was not noticed"
    assert not any(name.endswith("Error") for name in talk.ledger.answers), "the gateway itself was never away"
