"""The embedded servers: they start, keep what they hold over a crash, and leave no process."""

from __future__ import annotations

import asyncio
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
from temporalio.client import Client

from domain.errors import DependencyUnavailable
from domain.names import SearchAttribute
from workers.embedded.binaries import NOBODY, unprivileged
from workers.embedded.part import descendants
from workers.embedded.stack import EmbeddedStack


async def test_each_login_user_has_the_rights_of_its_group_and_no_more(stack: EmbeddedStack) -> None:
    for variable, group in (
        ("DATABASE_URL", "soma_app"),
        ("DATABASE_RELAY_URL", "soma_relay"),
        ("DATABASE_TOKEN_URL", "soma_token"),
    ):
        connection = await asyncpg.connect(stack.environment[variable])
        try:
            groups = await connection.fetch(
                "select rolname from pg_roles where rolname like 'soma%' and rolname <> current_user "
                "and pg_has_role(current_user, oid, 'usage')"
            )
            assert [row["rolname"] for row in groups] == [group]
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute("create table mine (id int)")
        finally:
            await connection.close()


async def test_the_owner_is_no_superuser(stack: EmbeddedStack) -> None:
    connection = await asyncpg.connect(stack.environment["DATABASE_MIGRATION_URL"])
    try:
        row = await connection.fetchrow("select rolsuper, rolbypassrls, rolcreaterole from pg_roles where rolname = current_user")
    finally:
        await connection.close()
    assert row is not None
    assert tuple(row) == (False, False, True)


async def test_temporal_knows_every_search_attribute(stack: EmbeddedStack) -> None:
    client = await Client.connect(stack.environment["TEMPORAL_ADDRESS"])
    for attribute in SearchAttribute:
        assert [run async for run in client.list_workflows(f"{attribute.value} = 'nobody'")] == []


async def test_a_committed_row_survives_kill_9_of_postgres(stack: EmbeddedStack) -> None:
    url = stack.environment["DATABASE_MIGRATION_URL"]
    connection = await asyncpg.connect(url)
    await connection.execute("create table kept_row (id int)")
    await connection.execute("insert into kept_row values (7)")
    before = stack.part("postgres").pid

    await asyncio.to_thread(stack.part("postgres").kill9)
    assert not stack.part("postgres").running
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await connection.fetch("select * from kept_row")
    connection.terminate()
    await asyncio.to_thread(stack.part("postgres").start)

    assert stack.part("postgres").pid != before
    connection = await asyncpg.connect(url)
    try:
        assert await connection.fetchval("select id from kept_row") == 7
        await connection.execute("drop table kept_row")
    finally:
        await connection.close()


async def test_valkey_and_temporal_start_again_after_kill_9(stack: EmbeddedStack) -> None:
    for name in ("valkey", "temporal"):
        await asyncio.to_thread(stack.part(name).kill9)
        assert not stack.part(name).running
        await asyncio.to_thread(stack.part(name).start)
        assert stack.part(name).running


def test_stop_leaves_no_process_and_no_readable_secret(tmp_path: Path) -> None:
    own = EmbeddedStack(tmp_path / "home", durable=False, tied=True)
    own.start()
    pids = [child.pid for child in own.children.values() if child.pid is not None]
    family = [psutil.Process(pid) for pid in pids] + [process for pid in pids for process in descendants(pid)]
    assert len(family) > len(pids), "Postgres has children of its own"

    own.stop()

    assert [process.pid for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []
    for path in (tmp_path / "home").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_second_start_finds_the_same_keys_and_data(tmp_path: Path) -> None:
    first = EmbeddedStack(tmp_path, parts=("postgres",), durable=False, tied=True)
    first.start()
    first.stop()
    keys = {path.name: path.read_bytes() for path in first.keys.directory.iterdir()}
    initialised = (tmp_path / "postgres" / "data" / "PG_VERSION").stat().st_mtime_ns

    second = EmbeddedStack(tmp_path, parts=("postgres",), durable=False, tied=True)
    second.start()
    second.stop()

    assert {path.name: path.read_bytes() for path in second.keys.directory.iterdir()} == keys
    assert (tmp_path / "postgres" / "data" / "PG_VERSION").stat().st_mtime_ns == initialised


def test_a_start_cut_short_leaves_no_half_made_database(tmp_path: Path) -> None:
    """What initdb left behind when it was killed is thrown away."""
    own = EmbeddedStack(tmp_path, parts=("postgres",), durable=False, tied=True)
    leftover = tmp_path / "postgres" / "data.new"
    leftover.mkdir(parents=True)
    (leftover / "PG_VERSION").write_text("18\n")
    own.start()
    own.stop()
    assert not leftover.exists()


def test_a_lock_file_naming_a_stranger_does_not_stop_postgres(tmp_path: Path) -> None:
    own = EmbeddedStack(tmp_path, parts=("postgres",), durable=False, tied=True)
    own.start(migrate=False)
    lock = tmp_path / "postgres" / "data" / "postmaster.pid"
    content = lock.read_text().splitlines()
    own.part("postgres").kill9()
    # The pid of a crashed postmaster now belongs to somebody else: this very test.
    stranger = psutil.Process()
    lock.write_text("\n".join([str(stranger.pid), *content[1:]]) + "\n")
    own.start(migrate=False)
    own.stop()
    assert stranger.is_running()


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that everyone may pass through, as a container's data volume is; pytest's own is closed."""
    with tempfile.TemporaryDirectory(prefix="soma-nobody-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


async def test_root_without_user_namespaces_runs_postgres_as_nobody(open_directory: Path) -> None:
    """Containers often forbid namespaces."""
    if os.geteuid() != 0:
        assert unprivileged().kind != "nobody", "only root may become nobody"
        return
    own = EmbeddedStack(open_directory / "home", parts=("postgres",), durable=False, tied=True, isolation="nobody")
    await asyncio.to_thread(own.start)
    try:
        assert psutil.Process(own.part("postgres").pid).uids().effective == NOBODY
        assert await rights_of_the_app(own) == ["soma_app"]
        await asyncio.to_thread(own.part("postgres").kill9)
        await asyncio.to_thread(own.part("postgres").start)
    finally:
        await asyncio.to_thread(own.stop)
    assert stat.S_IMODE(own.keys.directory.stat().st_mode) == 0o700


def test_a_home_that_nobody_cannot_reach_is_said(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        assert unprivileged().kind != "nobody", "only root may become nobody"
        return
    tmp_path.chmod(0o700)
    closed = EmbeddedStack(tmp_path / "home", parts=("postgres",), durable=False, tied=True, isolation="nobody")
    with pytest.raises(DependencyUnavailable, match="nobody cannot enter"):
        closed.start()


async def rights_of_the_app(stack: EmbeddedStack) -> list[str]:
    """The groups whose rights the gateway's user has."""
    connection = await asyncpg.connect(stack.environment["DATABASE_URL"])
    try:
        rows = await connection.fetch(
            "select rolname from pg_roles where rolname like 'soma%' and rolname <> current_user "
            "and pg_has_role(current_user, oid, 'usage')"
        )
        return [row["rolname"] for row in rows]
    finally:
        await connection.close()
