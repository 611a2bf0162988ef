"""A replay whose worker goes away goes on with the next one, where it was; nothing is counted twice."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from live import Live, live, until
from recorded_decisions import copy_last, decide, insert
from test_policy_replays import counts, facts, listed
from test_policy_sets import FORBID, PERMIT

from domain.names import Queue
from workers.embedded.stack import EmbeddedStack
from workers.worker import make_worker

COPIES = 9_000


@pytest.fixture
async def without_workers(stack: EmbeddedStack) -> AsyncIterator[Live]:
    """The product without workers: the test has its own."""
    async with live(stack, queues=()) as running:
        yield running


@pytest.mark.timeout(240)
async def test_a_replay_outlives_its_worker(without_workers: Live) -> None:
    product = without_workers
    async with product.caller() as caller:
        await insert(product, caller.tenant, await decide(product, caller, [(2**64, facts(1), None)]))
        await copy_last(product, caller.tenant, COPIES)
        async with make_worker(product.temporal, Queue.PLATFORM, product.activities):
            started = await caller.post("/v1/policy/replays", {"what_if": {"tenant": PERMIT + FORBID}})
            assert started.status_code == 202, started.text
            path = started.headers["Location"]

            async def moved() -> bool:
                return (await caller.get(path)).json()["decisions"] > 0

            await until(moved, 60)
        view = (await caller.get(path)).json()
        assert (view["status"], 0 < view["decisions"] <= COPIES) == ("running", True)

        async with make_worker(product.temporal, Queue.PLATFORM, product.activities):

            async def ended() -> bool:
                return (await caller.get(path)).json()["status"] != "running"

            await until(ended, 100)
        view = (await caller.get(path)).json()
        assert counts(view) == ("completed", COPIES + 1, 0, COPIES + 1, 0)
        ids = [change["decision_id"] for change in await listed(caller, view, "changes")]
        assert len(ids) == len(set(ids)) == COPIES + 1
