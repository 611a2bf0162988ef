"""Delegated tokens over HTTP end with what they come from, and nothing else does."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from delegating import (
    WITHIN_SECONDS,
    claims_of,
    delegated,
    exchange,
    revoked,
    status,
    token_of,
)
from live import Caller, Live, until

from adapters.postgres.identity import disable_client


@dataclass
class Node:
    """A token of a tree, which client holds it, and what it comes from."""

    token: str
    client: int
    parent: Node | None = None
    below: list[Node] = field(default_factory=list["Node"])

    def all(self) -> list[Node]:
        return [self, *(node for each in self.below for node in each.all())]


@pytest.mark.parametrize("seed", range(4))
async def test_a_revocation_stops_exactly_a_subtree(product: Live, caller: Caller, seed: int) -> None:
    chance = random.Random(seed)
    async with (
        product.caller(tenant=caller.tenant) as one,
        product.caller(tenant=caller.tenant) as two,
    ):
        clients = [caller, one, two]
        root = Node(token_of(one), 1)
        while len(root.all()) < 9:
            parent = chance.choice(root.all())
            holder = chance.choice([1, 2])
            made = await exchange(clients[holder], parent.token, expires_in=str(chance.randint(30, 900)))
            if made.status_code == 200:
                parent.below.append(Node(made.json()["access_token"], holder, parent))
                assert claims_of(made.json()["access_token"])["exp"] <= claims_of(parent.token)["exp"]
        assert [await status(caller, node.token) for node in root.all()] == [200] * 9
        cut = chance.choice(root.all()[1:])
        await revoked(caller, "jti", claims_of(cut.token)["jti"])
        stopped = {node.token for node in cut.all()}
        assert {node.token for node in root.all() if await status(caller, node.token) == 401} == stopped
        await revoked(caller, "client", two.client.client_id)
        stopped |= {below.token for node in root.all() if node.client == 2 for below in node.all()}
        assert {node.token for node in root.all() if await status(caller, node.token) == 401} == stopped


async def test_a_subject_or_an_actor_that_is_revoked_stops_it(product: Live, caller: Caller) -> None:
    async with product.caller(tenant=caller.tenant) as agent, product.caller(tenant=caller.tenant) as tool:
        first = await delegated(agent, token_of(caller))
        second = await delegated(tool, first)
        async with product.caller(tenant=caller.tenant) as judge:
            await revoked(judge, "subject", agent.client.client_id)
            tokens = (token_of(caller), token_of(agent), token_of(tool), first, second)
            assert [await status(judge, token) for token in tokens] == [200, 401, 200, 401, 401]
            third = await delegated(tool, token_of(caller))
            assert await status(judge, third) == 200
            await disable_client(product.pool, caller.tenant, caller.client.client_id)
            await asyncio.sleep(WITHIN_SECONDS)
            assert [await status(judge, token) for token in (third, token_of(tool))] == [401, 200]


async def test_what_runs_in_a_delegated_name_is_refused_its_next_step(product: Live, caller: Caller) -> None:
    async with product.caller(tenant=caller.tenant) as agent:
        token = await delegated(agent, token_of(agent))
        acting = Caller(caller.http, agent.client, token)
        started = (await acting.start("How can I make fake passports?")).json()
        await revoked(caller, "jti", claims_of(token_of(agent))["jti"])
    assert (await caller.post(f"/v1/decisions/{started['decision']['decision_id']}/approve")).status_code == 200

    async def ended() -> list[dict[str, Any]]:
        return [turn for turn in (await caller.transcript(started["session_id"]))["turns"] if turn["completed_at"]]

    (turn,) = await until(ended)
    assert (turn["status"], turn["reply"]) == ("denied", None)
