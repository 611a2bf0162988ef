"""The lease on real Postgres: how soon a switch is known, and that nobody who cannot ask goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import psutil
import pytest
from live import until

from adapters.postgres.connection import Pool, connect
from adapters.postgres.kill_switch_lease import PostgresLease, boot_seconds
from adapters.postgres.kill_switches import PostgresKillSwitches
from domain.actors import Actor
from domain.errors import DomainError, KillSwitchUnreadable, StoppedByKillSwitch
from domain.kill_switches import LEASE_SECONDS, Act, KillSwitchInput, KillSwitchScope
from runtime.ids import new_uuid
from workers.embedded.stack import EmbeddedStack


class Clock:
    """The machine's clock, which can be put forward."""

    ahead = 0.0

    def __call__(self) -> float:
        return boot_seconds() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def lease(stack: EmbeddedStack, clock: Clock) -> AsyncIterator[PostgresLease]:
    lease = PostgresLease(stack.environment["DATABASE_URL"], clock)
    await lease.start()
    yield lease
    await lease.aclose()


def act(tenant: str, **more: str) -> Act:
    return Act(**({"tenant_id": tenant, "subjects": ("alice",), "region": "local", "feature": "session"} | more))


def tenant_of(request: pytest.FixtureRequest) -> str:
    return f"k-{abs(hash(request.node.name)) % 10**9}"


async def engage(
    pool: Pool, tenant: str, scope: KillSwitchScope = KillSwitchScope.TENANT, value: str | None = None, **more: object
) -> str:
    switch_id = f"ksw_{new_uuid().hex}"
    actor = Actor(tenant_id=tenant, subject="op", client_id="c", scopes=(), jti="j")
    values = {"target_tenant": tenant, "reason": "test", "value": value} | more
    await PostgresKillSwitches(pool).engage(KillSwitchInput(switch_id=switch_id, actor=actor, scope=scope, **values))
    return switch_id


def stopped(lease: PostgresLease, what: Act) -> type[DomainError] | None:
    try:
        lease.check(what)
    except DomainError as error:
        return type(error)
    return None


async def test_a_switch_is_known_at_once_by_its_notice(lease: PostgresLease, pool: Pool, request: pytest.FixtureRequest) -> None:
    tenant = tenant_of(request)
    lease.check(act(tenant))
    switch_id = await engage(pool, tenant)
    engaged = time.monotonic()

    async def known() -> bool:
        return stopped(lease, act(tenant)) is StoppedByKillSwitch

    await until(known, LEASE_SECONDS, 0.005)
    assert time.monotonic() - engaged < LEASE_SECONDS
    with pytest.raises(StoppedByKillSwitch, match=switch_id):
        lease.check(act(tenant))
    lease.check(act("another"))


@pytest.mark.parametrize(
    ("scope", "value", "meant", "spared"),
    [
        (KillSwitchScope.USER, "alice", {}, {"subjects": ("bob",)}),
        (KillSwitchScope.USER, "carol", {"subjects": ("alice", "carol")}, {}),
        (KillSwitchScope.PROVIDER, "openai", {"provider": "openai"}, {"provider": "other"}),
        (KillSwitchScope.TOOL, "mailer", {"tool": "mailer"}, {}),
        (KillSwitchScope.CAPSULE, "cap_1", {"capsule_id": "cap_1"}, {}),
        (KillSwitchScope.FEATURE, "slm", {"feature": "slm"}, {}),
    ],
)
async def test_each_scope_means_what_it_names(
    lease: PostgresLease,
    pool: Pool,
    request: pytest.FixtureRequest,
    scope: KillSwitchScope,
    value: str,
    meant: dict[str, str],
    spared: dict[str, str],
) -> None:
    tenant = tenant_of(request)
    await engage(pool, tenant, scope, value)

    async def known() -> bool:
        return stopped(lease, act(tenant, **meant)) is StoppedByKillSwitch

    await until(known, LEASE_SECONDS)
    assert stopped(lease, act(tenant, **spared)) is None
    assert stopped(lease, act("another", **meant)) is None


async def test_a_switch_that_expires_stops_nothing_more(lease: PostgresLease, pool: Pool, request: pytest.FixtureRequest) -> None:
    tenant = tenant_of(request)
    await engage(pool, tenant, lifetime_seconds=1)

    async def state() -> bool:
        return stopped(lease, act(tenant)) is wanted

    wanted: type[DomainError] | None = StoppedByKillSwitch
    await until(state, LEASE_SECONDS)
    wanted = None
    await until(state, 3)


async def test_who_was_stopped_for_longer_than_a_lease_begins_nothing(lease: PostgresLease, clock: Clock) -> None:
    lease.check(act("demo"))
    clock.ahead = LEASE_SECONDS
    with pytest.raises(KillSwitchUnreadable):
        lease.check(act("demo"))

    async def live() -> bool:
        return stopped(lease, act("demo")) is None

    await until(live, 3)


async def test_a_database_that_hangs_stops_everybody_within_a_lease(lease: PostgresLease, stack: EmbeddedStack) -> None:
    lease.check(act("demo"))
    pid = stack.part("postgres").pid
    assert pid is not None
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in family:
        process.suspend()
    try:
        await asyncio.sleep(LEASE_SECONDS + 0.1)
        assert stopped(lease, act("demo")) is KillSwitchUnreadable
    finally:
        for process in reversed(family):
            process.resume()

    async def live() -> bool:
        return stopped(lease, act("demo")) is None

    await until(live, 15)


async def test_an_answer_that_makes_no_sense_stops_everybody_until_one_does(lease: PostgresLease, stack: EmbeddedStack) -> None:
    lease.check(act("demo"))
    owner = await connect(stack.environment["DATABASE_MIGRATION_URL"])
    await owner.execute("ALTER TABLE kill_switches RENAME TO kill_switches_away")
    try:
        await asyncio.sleep(LEASE_SECONDS + 0.1)
        assert stopped(lease, act("demo")) is KillSwitchUnreadable
    finally:
        await owner.execute("ALTER TABLE kill_switches_away RENAME TO kill_switches")
        await owner.close()

    async def live() -> bool:
        return stopped(lease, act("demo")) is None

    await until(live, 15)


async def test_a_lease_that_is_not_renewed_runs_out(stack: EmbeddedStack) -> None:
    lease = PostgresLease(stack.environment["DATABASE_URL"])
    assert stopped(lease, act("demo")) is KillSwitchUnreadable
    await lease.start()
    assert stopped(lease, act("demo")) is None
    await lease.aclose()
    await asyncio.sleep(LEASE_SECONDS)
    assert stopped(lease, act("demo")) is KillSwitchUnreadable
