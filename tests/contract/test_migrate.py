"""Migrations and login users, on PostgreSQL 18 and on the oldest one served, 15."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import asyncpg
import pytest
from debian_postgres import debian_postgres

from adapters.postgres.migrate import Login, migrate, scram_verifier
from domain.errors import DependencyUnavailable, InvalidRequest
from workers.embedded.binaries import script
from workers.embedded.logins import logins
from workers.embedded.ports import free_ports
from workers.embedded.stack import EmbeddedStack

GROUPS = ("soma_app", "soma_relay", "soma_token")
PASSWORD = "a b@c:d/e%f'g\"h"


async def run(owner: str, users: list[Login], **options: float) -> None:
    """Migrate."""
    await migrate(owner, users, dbmate=script("dbmate"), **options)


async def rights(url: str) -> list[str]:
    """The group roles whose rights the user of `url` has, as it sees them itself."""
    connection = await asyncpg.connect(url)
    try:
        return [group for group in GROUPS if await connection.fetchval("select pg_has_role($1, 'usage')", group)]
    finally:
        await connection.close()


async def test_migrating_again_changes_nothing(stack: EmbeddedStack) -> None:
    owner, users = stack.environment["DATABASE_MIGRATION_URL"], logins(stack.environment)
    connection = await asyncpg.connect(owner)
    try:
        before = await connection.fetch("select * from schema_migrations order by version")
        await asyncio.gather(run(owner, users), run(owner, users))
        assert await connection.fetch("select * from schema_migrations order by version") == before
    finally:
        await connection.close()


async def test_an_index_that_an_earlier_schema_had_already_is_no_trouble(stack: EmbeddedStack) -> None:
    owner, users = stack.environment["DATABASE_MIGRATION_URL"], logins(stack.environment)
    connection = await asyncpg.connect(owner)
    try:
        before = await connection.fetch("select * from schema_migrations order by version")
        # So it stood where the index came with the table.
        await connection.execute("delete from schema_migrations where version = '20261126000001'")
        await run(owner, users)
        assert await connection.fetch("select * from schema_migrations order by version") == before
    finally:
        await connection.close()


async def test_a_new_password_is_taken_over_and_a_working_user_left_alone(stack: EmbeddedStack) -> None:
    owner = stack.environment["DATABASE_MIGRATION_URL"]
    place = owner.partition("@")[2]
    url = f"postgresql://test_changing:{quote(PASSWORD, safe='')}@{place}"
    await run(owner, [Login("soma_app", url)])
    assert await rights(url) == ["soma_app"]
    connection = await asyncpg.connect(owner)
    try:
        # A user that an administrator made: ours must not touch what works.
        await connection.execute("alter role test_changing connection limit 7")
        await run(owner, [Login("soma_app", url)])
        assert await connection.fetchval("select rolconnlimit from pg_roles where rolname = 'test_changing'") == 7
        changed = url.replace(quote(PASSWORD, safe=""), "another")
        await run(owner, [Login("soma_app", changed)])
        assert await rights(changed) == ["soma_app"]
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(url)
        await connection.execute("drop role test_changing")
    finally:
        await connection.close()


async def test_the_owner_may_not_be_a_login_user(stack: EmbeddedStack) -> None:
    owner = stack.environment["DATABASE_MIGRATION_URL"]
    with pytest.raises(InvalidRequest, match="schema owner"):
        await run(owner, [Login("soma_app", owner)])
    with pytest.raises(InvalidRequest, match="names no user"):
        await run(owner, [Login("soma_app", "postgresql://127.0.0.1/somagent")])


async def test_a_server_that_is_away_or_refuses_is_said_in_time(stack: EmbeddedStack) -> None:
    owner = stack.environment["DATABASE_MIGRATION_URL"]
    (closed,) = free_ports(1)
    with pytest.raises(DependencyUnavailable, match="did not answer within"):
        await run(f"postgresql://a:b@127.0.0.1:{closed}/c", [], wait_seconds=0.3)
    with pytest.raises(DependencyUnavailable, match="refuses"):
        await run(f"postgresql://nobody:wrong@{owner.partition('@')[2]}", [])


def test_only_ascii_passwords_are_turned_into_verifiers() -> None:
    with pytest.raises(InvalidRequest):
        scram_verifier("pässword")
    assert scram_verifier("x", b"0" * 16) == scram_verifier("x", b"0" * 16)
    assert scram_verifier("x") != scram_verifier("x")


@pytest.fixture
def postgres_15(tmp_path: Path) -> Iterator[str]:
    """The owner's address in a PostgreSQL 15 of Debian's package."""
    with debian_postgres(tmp_path) as place:
        yield f"postgresql://soma_owner:owner@{place}"


async def test_postgres_15_takes_the_same_schema_and_users(postgres_15: str) -> None:
    place = postgres_15.partition("@")[2]
    users = [Login(group, f"postgresql://{group}_login:secret-{group}@{place}") for group in GROUPS]
    await run(postgres_15, users)
    await run(postgres_15, users)
    for user in users:
        assert await rights(user.url) == [user.group]
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(users[0].url.replace("secret-", "guess-"))
