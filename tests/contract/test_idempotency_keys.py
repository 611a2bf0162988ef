"""Claims on Idempotency-Keys in a real Postgres: leases, take-over, expiry and the sweep."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from adapters.postgres.connection import Pool, tenant_transaction
from adapters.postgres.idempotency import PostgresClaims
from domain.actors import Actor
from domain.errors import IdempotencyKeyReused, RequestInProgress

BODY, OTHER = "a" * 64, "b" * 64
ROUTE = "POST /v1/things"


def new_actor(tenant: str | None = None) -> Actor:
    return Actor(tenant_id=tenant or f"t-{uuid.uuid4().hex[:12]}", subject="s", client_id="cli", scopes=(), jti="j")


async def age(pool: Pool, actor: Actor, key: str, hours: float) -> None:
    """Makes the key older."""
    async with tenant_transaction(pool, actor.tenant_id) as connection:
        await connection.execute(
            "UPDATE idempotency_keys SET created_at = created_at - make_interval(secs => $2) WHERE key = $1", key, hours * 3600.0
        )


async def test_a_lease_that_ran_out_is_taken_over_with_its_resource(pool: Pool) -> None:
    actor, first, second = new_actor(), uuid.uuid4(), uuid.uuid4()
    brief = PostgresClaims(pool, lease_seconds=0.0)
    assert (await brief.claim(actor, ROUTE, "k", BODY, first)).resource == first
    taken = await PostgresClaims(pool).claim(actor, ROUTE, "k", BODY, second)
    assert (taken.resource, taken.status) == (first, None)
    with pytest.raises(RequestInProgress):
        await brief.claim(actor, ROUTE, "k", BODY, second)
    with pytest.raises(IdempotencyKeyReused):
        await brief.claim(actor, ROUTE, "k", OTHER, second)


async def test_a_lease_that_ran_out_is_not_taken_over_by_another_body(pool: Pool) -> None:
    actor, claims = new_actor(), PostgresClaims(pool, lease_seconds=0.0)
    await claims.claim(actor, ROUTE, "k", BODY, uuid.uuid4())
    with pytest.raises(IdempotencyKeyReused):
        await claims.claim(actor, ROUTE, "k", OTHER, uuid.uuid4())


async def test_renewing_keeps_and_releasing_frees(pool: Pool) -> None:
    actor, first = new_actor(), uuid.uuid4()
    claims = PostgresClaims(pool)
    await PostgresClaims(pool, lease_seconds=0.0).claim(actor, ROUTE, "k", BODY, first)
    await claims.renew(actor, ROUTE, "k")
    with pytest.raises(RequestInProgress):
        await claims.claim(actor, ROUTE, "k", BODY, uuid.uuid4())
    await claims.release(actor, ROUTE, "k")
    assert (await claims.claim(actor, ROUTE, "k", BODY, uuid.uuid4())).resource == first


async def test_the_first_answer_stands(pool: Pool) -> None:
    actor, claims, first = new_actor(), PostgresClaims(pool), uuid.uuid4()
    await claims.claim(actor, ROUTE, "k", BODY, first)
    await claims.answer(actor, ROUTE, "k", 201, {"body": {"text": "é", "n": 1}})
    await claims.answer(actor, ROUTE, "k", 500, {"body": {}})
    await claims.release(actor, ROUTE, "k")
    again = await claims.claim(actor, ROUTE, "k", BODY, uuid.uuid4())
    assert (again.resource, again.status, again.response) == (first, 201, {"body": {"text": "é", "n": 1}})
    with pytest.raises(IdempotencyKeyReused):
        await claims.claim(actor, ROUTE, "k", OTHER, uuid.uuid4())


async def test_a_day_later_the_key_is_new(pool: Pool) -> None:
    actor, claims, second = new_actor(), PostgresClaims(pool), uuid.uuid4()
    await claims.claim(actor, ROUTE, "k", BODY, uuid.uuid4())
    await claims.answer(actor, ROUTE, "k", 201, {"body": {}})
    await age(pool, actor, "k", 23.9)
    assert (await claims.claim(actor, ROUTE, "k", BODY, second)).status == 201
    await age(pool, actor, "k", 0.2)
    fresh = await claims.claim(actor, ROUTE, "k", OTHER, second)
    assert (fresh.resource, fresh.status, fresh.response) == (second, None, None)
    with pytest.raises(RequestInProgress):
        await claims.claim(actor, ROUTE, "k", OTHER, uuid.uuid4())


async def test_of_many_at_once_one_claims(pool: Pool) -> None:
    actor, claims = new_actor(), PostgresClaims(pool)

    async def try_it() -> bool:
        try:
            await claims.claim(actor, ROUTE, "k", BODY, uuid.uuid4())
        except RequestInProgress:
            return False
        return True

    assert sum(await asyncio.gather(*(try_it() for _ in range(20)))) == 1


async def test_keys_belong_to_tenant_client_and_route(pool: Pool) -> None:
    claims, one = PostgresClaims(pool), new_actor()
    resource = (await claims.claim(one, ROUTE, "k", BODY, uuid.uuid4())).resource
    for actor, route in (
        (new_actor(), ROUTE),
        (one.model_copy(update={"client_id": "cli2"}), ROUTE),
        (one, "POST /v1/others"),
    ):
        assert (await claims.claim(actor, route, "k", OTHER, uuid.uuid4())).resource != resource


async def test_expired_keys_are_swept_for_their_tenant_alone(pool: Pool) -> None:
    claims, one, other = PostgresClaims(pool), new_actor(), new_actor()
    for actor in (one, other):
        await claims.claim(actor, ROUTE, "old", BODY, uuid.uuid4())
        await age(pool, actor, "old", 25)
    for number in range(256):
        await claims.claim(one, ROUTE, f"new-{number}", BODY, uuid.uuid4())
    for actor, left in ((one, 256), (other, 1)):
        async with tenant_transaction(pool, actor.tenant_id) as connection:
            assert await connection.fetchval("SELECT count(*) FROM idempotency_keys") == left
