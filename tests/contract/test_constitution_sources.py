"""The constitution in force: from Postgres, from a URL, through Redis; and what holds while one of them fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from fakes.constitution_server import ConstitutionServer
from redis import asyncio as redis_asyncio

from adapters.cedar.engine import CedarEngine
from adapters.constitution import GRACE_REFRESHES, CachedConstitution, constitution_hash, sign_constitution
from adapters.moderation import Re2Moderator
from adapters.postgres.connection import Pool, connect, tenant_transaction
from adapters.postgres.constitutions import PostgresConstitutions
from adapters.signing import new_signing_key
from domain.constitution import Constitution
from domain.errors import Conflict, ConstitutionUnavailable, DependencyUnavailable
from domain.ports.constitution import ConstitutionStore
from workers.embedded.constitution import builtin
from workers.embedded.stack import EmbeddedStack

KEY = new_signing_key()
ENGINE, MODERATOR = CedarEngine(), Re2Moderator()
REFRESH = 30.0


def document(version: int, **changes: Any) -> Constitution:
    return builtin().model_copy(update={"version": version, "moderation": (), "title": f"number {version}"} | changes)


def envelope(version: int, **changes: Any) -> dict[str, Any]:
    return sign_constitution(document(version, **changes), KEY)


class Clock:
    """Time that the test moves; both clocks of the cache go by it."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime(2026, 11, 24, tzinfo=UTC) + timedelta(seconds=self.seconds)


class HeldStore:
    """A store in memory, which can be out of reach."""

    def __init__(self, held: dict[str, Any] | None) -> None:
        self.held = held
        self.reachable = True
        self.asked = 0

    async def active(self) -> dict[str, Any] | None:
        self.asked += 1
        if not self.reachable:
            raise DependencyUnavailable("Postgres does not answer.")
        return self.held

    async def activate(self, hash_: str, version: int, envelope: dict[str, Any]) -> None:
        raise AssertionError(f"the cache writes {hash_} {version} {len(envelope)}")


@pytest.fixture
def clock() -> Clock:
    return Clock()


Make = Callable[..., CachedConstitution]


@pytest.fixture
async def make(clock: Clock) -> AsyncIterator[Make]:
    """Makes caches that are closed afterwards."""
    made: list[CachedConstitution] = []

    def make(store: ConstitutionStore | None = None, url: str | None = None, redis_url: str | None = None) -> CachedConstitution:
        made.append(
            CachedConstitution(
                store=store or HeldStore(None),
                url=url,
                trusted={KEY.key_id: KEY.public},
                moderator=MODERATOR,
                engine=ENGINE,
                redis_url=redis_url,
                refresh_seconds=REFRESH,
                clock=clock.now,
                monotonic=clock.monotonic,
            )
        )
        return made[-1]

    yield make
    for cache in made:
        await cache.aclose()


@asynccontextmanager
async def redis(url: str) -> AsyncIterator[Any]:
    client: Any = cast("Any", redis_asyncio.Redis).from_url(url, decode_responses=True)
    try:
        yield client
    finally:
        await client.aclose()


async def title(cache: CachedConstitution) -> str:
    return (await cache.current()).document.title


# --- Postgres ----------------------------------------------------------------------------------------------------------


async def test_postgres_keeps_the_one_activated_last(pool: Pool, as_before: int) -> None:
    store, base = PostgresConstitutions(pool), as_before
    for version in (base + 1, base + 2):
        made = document(version)
        await store.activate(constitution_hash(made), version, sign_constitution(made, KEY))
    assert await store.active() == envelope(base + 2)
    again = document(base + 2)
    await store.activate(constitution_hash(again), base + 2, envelope(base + 2))
    assert await store.active() == envelope(base + 2)
    older = document(base + 1)
    with pytest.raises(Conflict):
        await store.activate(constitution_hash(older), base + 1, envelope(base + 1))
    twin = document(base + 2, title="twin")
    await store.activate(constitution_hash(twin), base + 2, sign_constitution(twin, KEY))
    assert await store.active() == sign_constitution(twin, KEY)


@pytest.fixture
async def as_before(stack: EmbeddedStack) -> AsyncIterator[int]:
    """A number above which versions are this test's own; their rows are gone afterwards, as other tests share the store."""
    base = 1_000_000
    yield base
    connection = await connect(stack.environment["DATABASE_MIGRATION_URL"])
    await connection.execute("SELECT set_config('app.tenant', 'system', false)")
    await connection.execute("DELETE FROM constitutions WHERE version > $1", base)
    await connection.close()


async def test_no_tenant_may_write_one(pool: Pool) -> None:
    with pytest.raises(Exception, match="row-level security"):
        async with tenant_transaction(pool, "demo") as connection:
            await connection.execute(
                "INSERT INTO constitutions (hash, version, envelope) VALUES ($1, 1, $2)", "f" * 64, envelope(1)
            )


# --- The cache over a store --------------------------------------------------------------------------------------------


async def test_between_refreshes_nothing_is_asked(make: Make, clock: Clock) -> None:
    store = HeldStore(envelope(1))
    cache = make(store)
    first = await cache.current()
    clock.seconds += REFRESH - 1
    assert await cache.current() is first
    assert store.asked == 1
    clock.seconds += 1
    assert await cache.current() is first
    assert store.asked == 2


async def test_who_needs_the_newest_asks_once_a_second_at_most(make: Make, clock: Clock) -> None:
    store = HeldStore(envelope(1))
    source = make(store)
    first = await source.current()
    clock.seconds += 1.0
    store.held = envelope(2)
    assert (await source.current()).hash == first.hash
    second = await source.refreshed()
    assert second.document.version == 2
    assert (await source.current()).hash == second.hash
    store.held = envelope(3)
    clock.seconds += 0.5
    assert (await source.refreshed()).hash == second.hash
    assert store.asked == 2
    clock.seconds += 0.5
    assert (await source.refreshed()).document.version == 3


async def test_while_it_is_out_of_reach_the_newest_is_what_is_held(make: Make, clock: Clock) -> None:
    store = HeldStore(envelope(1))
    source = make(store)
    held = await source.current()
    store.reachable = False
    for _ in range(3):
        clock.seconds += 0.4
        assert (await source.refreshed()).hash == held.hash
    assert store.asked == 2


async def test_a_new_one_is_taken_up_after_a_refresh(make: Make, clock: Clock) -> None:
    store = HeldStore(envelope(1))
    cache = make(store)
    assert await title(cache) == "number 1"
    store.held = envelope(2)
    clock.seconds += REFRESH
    assert await title(cache) == "number 2"


async def test_many_at_once_ask_once(make: Make) -> None:
    store = HeldStore(envelope(1))
    cache = make(store)
    await asyncio.gather(*(cache.current() for _ in range(20)))
    assert store.asked == 1


async def test_an_empty_store_is_named(make: Make) -> None:
    with pytest.raises(ConstitutionUnavailable, match="holds no constitution"):
        await make(HeldStore(None)).current()


@pytest.mark.parametrize(
    "bad",
    [
        None,
        {},
        sign_constitution(document(2), new_signing_key()),
        envelope(2, policies="permit("),
        envelope(0 + 1, title="older than before"),
    ],
    ids=["gone", "no envelope", "foreign key", "bad policies", "older version"],
)
async def test_a_bad_new_one_stops_new_work_until_it_is_mended(make: Make, clock: Clock, bad: dict[str, Any] | None) -> None:
    store = HeldStore(envelope(2))
    cache = make(store)
    await cache.current()
    store.held = bad
    clock.seconds += REFRESH
    for _ in range(2):
        with pytest.raises(ConstitutionUnavailable):
            await cache.current()
    store.held = envelope(3)
    clock.seconds += REFRESH
    assert await title(cache) == "number 3"


async def test_an_unreachable_store_is_waited_out_for_the_grace(make: Make, clock: Clock) -> None:
    store = HeldStore(envelope(1))
    cache = make(store)
    await cache.current()
    store.reachable = False
    clock.seconds += REFRESH * GRACE_REFRESHES
    assert await title(cache) == "number 1"
    clock.seconds += REFRESH
    with pytest.raises(ConstitutionUnavailable, match="Postgres does not answer"):
        await cache.current()
    store.reachable = True
    clock.seconds += REFRESH
    assert await title(cache) == "number 1"


async def test_an_unreachable_store_is_not_asked_at_every_call(make: Make, clock: Clock) -> None:
    store = HeldStore(envelope(1))
    store.reachable = False
    cache = make(store)
    for _ in range(5):
        with pytest.raises(ConstitutionUnavailable):
            await cache.current()
    assert store.asked == 1
    clock.seconds += 5
    store.reachable = True
    assert await title(cache) == "number 1"


async def test_one_that_expires_meanwhile_stops_new_work(make: Make, clock: Clock) -> None:
    cache = make(HeldStore(envelope(1, expires_at=clock.now() + timedelta(seconds=10))))
    await cache.current()
    clock.seconds += 11
    with pytest.raises(ConstitutionUnavailable, match="expired"):
        await cache.current()


# --- A URL -------------------------------------------------------------------------------------------------------------


async def test_a_url_is_asked_with_its_etag(make: Make, clock: Clock) -> None:
    async with ConstitutionServer(envelope(1)) as server:
        cache = make(url=server.url)
        assert await title(cache) == "number 1"
        clock.seconds += REFRESH
        assert await title(cache) == "number 1"
        assert (server.served, server.unchanged) == (1, 1)
        server.envelope = envelope(2)
        clock.seconds += REFRESH
        assert await title(cache) == "number 2"


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_a_url_in_trouble_is_waited_out(make: Make, clock: Clock, status: int) -> None:
    async with ConstitutionServer(envelope(1)) as server:
        cache = make(url=server.url)
        await cache.current()
        server.status = status
        clock.seconds += REFRESH
        assert await title(cache) == "number 1"


async def test_a_url_that_is_down_or_hangs_is_waited_out(make: Make, clock: Clock) -> None:
    async with ConstitutionServer(envelope(1)) as server:
        cache = make(url=server.url)
        await cache.current()
        server.delay = 20
        clock.seconds += REFRESH
        assert await title(cache) == "number 1"
    clock.seconds += REFRESH
    assert await title(cache) == "number 1"
    clock.seconds += REFRESH * GRACE_REFRESHES
    with pytest.raises(ConstitutionUnavailable, match="CONSTITUTION_URL does not answer"):
        await cache.current()


@pytest.mark.parametrize(
    ("status", "body"), [(404, None), (403, None), (302, None), (200, b"<html>"), (200, b"[]"), (200, b" " * (5 << 20))]
)
async def test_a_url_that_answers_without_one_stops_new_work(make: Make, clock: Clock, status: int, body: bytes | None) -> None:
    async with ConstitutionServer(envelope(1)) as server:
        cache = make(url=server.url)
        await cache.current()
        server.status, server.body = status, body
        clock.seconds += REFRESH
        with pytest.raises(ConstitutionUnavailable):
            await cache.current()


# --- Copies in Redis ---------------------------------------------------------------------------------------------------


async def test_a_new_process_takes_the_copy_when_the_url_says_nothing_changed(make: Make, stack: EmbeddedStack) -> None:
    redis_url = stack.environment["REDIS_URL"]
    async with ConstitutionServer(envelope(1)) as server:
        await make(url=server.url, redis_url=redis_url).current()
        assert await title(make(url=server.url, redis_url=redis_url)) == "number 1"
        assert (server.served, server.unchanged) == (1, 1)


async def test_a_new_process_starts_from_the_copy_while_the_url_is_down(make: Make, stack: EmbeddedStack) -> None:
    redis_url = stack.environment["REDIS_URL"]
    async with ConstitutionServer(envelope(1)) as server:
        await make(url=server.url, redis_url=redis_url).current()
        url = server.url
    assert await title(make(url=url, redis_url=redis_url)) == "number 1"
    with pytest.raises(ConstitutionUnavailable):
        await make(url=url).current()


async def test_an_emptied_redis_changes_nothing(make: Make, stack: EmbeddedStack, clock: Clock) -> None:
    redis_url = stack.environment["REDIS_URL"]
    async with ConstitutionServer(envelope(1)) as server, redis(redis_url) as client:
        cache = make(url=server.url, redis_url=redis_url)
        await cache.current()
        await client.flushdb()
        clock.seconds += REFRESH
        assert await title(cache) == "number 1"
        assert await title(make(url=server.url, redis_url=redis_url)) == "number 1"


async def test_a_redis_that_is_away_changes_nothing(make: Make) -> None:
    async with ConstitutionServer(envelope(1)) as server:
        assert await title(make(url=server.url, redis_url="redis://127.0.0.1:1/0")) == "number 1"


async def test_nothing_in_redis_is_trusted(make: Make, stack: EmbeddedStack) -> None:
    redis_url = stack.environment["REDIS_URL"]
    async with ConstitutionServer(envelope(1)) as server, redis(redis_url) as client:
        await make(url=server.url, redis_url=redis_url).current()
        genuine = constitution_hash(document(1))
        other = sign_constitution(document(9), new_signing_key())
        swapped = envelope(9)
        for planted in (json.dumps(other), json.dumps(swapped), "nonsense", "[]"):
            await client.set(f"system:constitution:{genuine}", planted, ex=60)
            assert await title(make(url=server.url, redis_url=redis_url)) == "number 1"
        latest = await client.keys("system:constitution:latest:*")
        for planted in ("nonsense", "[]", '{"hash": 5}', "{}"):
            for key in latest:
                await client.set(key, planted, ex=60)
            assert await title(make(url=server.url, redis_url=redis_url)) == "number 1"


async def test_copies_do_not_outlive_the_grace(make: Make, stack: EmbeddedStack) -> None:
    redis_url = stack.environment["REDIS_URL"]
    async with ConstitutionServer(envelope(1)) as server, redis(redis_url) as client:
        await make(url=server.url, redis_url=redis_url).current()
        lifetimes = [await client.pttl(key) for key in await client.keys("system:constitution:*")]
    assert lifetimes
    assert all(0 < left <= REFRESH * GRACE_REFRESHES * 1000 for left in lifetimes)
