"""A backup of a running stack, restored into an empty directory, holds one consistent moment."""

from __future__ import annotations

import asyncio
import json

import asyncpg
import pytest
from soma_command import Soma
from temporalio.client import Client

# Each command is a process of its own, and two cores may be shared with other tests.
pytestmark = pytest.mark.timeout(400)


WRITES_BEFORE = 5


async def write_until(stop: asyncio.Event, environment: dict[str, str], written: list[int]) -> None:
    """As every step of ours does: first the row, committed, then the history that knows of it."""
    connection = await asyncpg.connect(environment["DATABASE_MIGRATION_URL"])
    client = await Client.connect(environment["TEMPORAL_ADDRESS"])
    await connection.execute("create table steps (step int primary key, xid xid8 default pg_current_xact_id())")
    while not stop.is_set():
        step = len(written)
        await connection.execute("insert into steps (step) values ($1)", step)
        await client.start_workflow("never-worked-on", id=f"step-{step}", task_queue="nobody")
        written.append(step)
    await connection.close()


async def test_backup_while_running_then_restore_into_an_empty_directory(soma: Soma) -> None:
    soma.ok("up", "--detach", "--servers-only")
    stop, written = asyncio.Event(), list[int]()
    writer = asyncio.create_task(write_until(stop, soma.environment(), written))
    while len(written) < WRITES_BEFORE:
        await asyncio.sleep(0.02)
        assert not writer.done(), writer
    file = soma.directory / "all.tar.gz"
    before = len(written)
    shown = json.loads(await asyncio.to_thread(soma.ok, "backup", str(file), "--json"))
    after = len(written)
    stop.set()
    await writer
    assert after > before, "the stack served while it was backed up"
    assert shown["files"] > 100
    assert file.stat().st_mode & 0o777 == 0o600
    again = await asyncio.to_thread(soma, "backup", str(file))
    assert again.returncode == 1
    soma.ok("down")

    other = Soma(soma.directory / "other")
    other.home = soma.directory / "restored"
    other.env["SOMA_HOME"] = str(other.home)
    cut = soma.directory / "cut.tar.gz"
    cut.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    damaged = other("restore", str(cut))
    assert (damaged.returncode, "Traceback" in damaged.stderr) == (2, False)
    assert not other.home.exists()
    try:
        other.ok("restore", str(file))
        (other.home / "run").mkdir()
        (other.home / "run" / "ports.json").write_text(json.dumps(other.ports))
        assert other("restore", str(file)).returncode == 1, "a home that is not empty is left alone"
        other.ok("up", "--detach", "--servers-only")
        environment = other.environment()
        connection = await asyncpg.connect(environment["DATABASE_MIGRATION_URL"])
        rows = {row["step"] for row in await connection.fetch("select step from steps")}
        # The outbox is read in the order of transaction ids, so they must go on, not begin anew.
        assert await connection.fetchval("select max(xid) < pg_current_xact_id() from steps")
        await connection.close()
        client = await Client.connect(environment["TEMPORAL_ADDRESS"])
        known = {int(run.id.removeprefix("step-")) async for run in client.list_workflows()}
        assert set(range(before)) <= rows
        assert set(range(before)) <= known
        assert known <= rows, "no history knows more than Postgres"
        assert len(rows) <= after + 1
        for name in ("passwords.json", "codec.json", "signing.jwks", "constitution.json"):
            assert (other.home / "keys" / name).read_bytes() == (soma.home / "keys" / name).read_bytes()
        other.ok("down")
    finally:
        other.clean()


def test_nothing_to_back_up_is_said(soma: Soma) -> None:
    done = soma("backup", str(soma.directory / "b.tar.gz"))
    assert done.returncode == 1
    assert list(soma.directory.glob("*.tar.gz")) == []
