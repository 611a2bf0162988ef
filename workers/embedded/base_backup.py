"""A physical copy of a running Postgres (its low-level backup API, manual 25.3.4), ended at a moment of the caller's choice.

A dump would not do: the outbox is read in the order of transaction ids, which only a physical copy carries on, and a dump knows
nothing of users and passwords.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from domain.errors import DependencyUnavailable

_LEFT_OUT: Final = frozenset({"postmaster.pid", "postmaster.opts", "pg_internal.init"})
_EMPTIED: Final = frozenset(
    {"pg_wal", "pg_replslot", "pg_dynshmem", "pg_notify", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans"}
)
_STATEMENT_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 5.0
"""Our processes are halted meanwhile."""


async def copy_running(url: str, data: Path, target: Path, at_the_end: Callable[[Callable[[], None]], None]) -> None:
    """Copy the cluster whose directory is `data` and whose superuser's address is `url` to `target`.

    When everything but the log is copied, `at_the_end(finish)` is called in a thread; the copy will hold exactly what was
    committed when it calls `finish()`. Raises DependencyUnavailable when the server does not play along.
    """
    import asyncpg

    try:
        connection = await asyncpg.connect(url, timeout=10, command_timeout=_STATEMENT_SECONDS)
    except (asyncpg.PostgresError, OSError) as error:
        raise DependencyUnavailable("The embedded Postgres does not answer; see `soma status`.") from error
    try:
        # A temporary slot keeps the log since this moment from being recycled, and goes with the connection.
        await connection.execute("SELECT pg_create_physical_replication_slot('soma_backup', true, true)")
        first = await connection.fetchval("SELECT pg_walfile_name(pg_backup_start('soma', fast => true))")
        await asyncio.to_thread(copy_tree, data, target)
        loop = asyncio.get_running_loop()
        last, label = "", ""

        async def stop() -> None:
            nonlocal last, label
            row = await connection.fetchrow("SELECT pg_walfile_name(lsn) AS last, labelfile FROM pg_backup_stop(false)")
            last, label = (str(row["last"]), str(row["labelfile"])) if row else ("", "")

        await asyncio.to_thread(at_the_end, lambda: asyncio.run_coroutine_threadsafe(stop(), loop).result(_STOP_SECONDS))
        if not label:
            raise DependencyUnavailable("Postgres did not end the backup; try again.")
        (target / "backup_label").write_text(label, encoding="utf-8")
        await asyncio.to_thread(_copy_log, data / "pg_wal", target / "pg_wal", str(first), last)
    except (asyncpg.PostgresError, OSError, TimeoutError) as error:
        raise DependencyUnavailable(
            f"Postgres could not be copied ({type(error).__name__}); see `soma logs postgres`."
        ) from error
    finally:
        await connection.close()


def copy_tree(data: Path, target: Path) -> None:
    """Copy a data directory without its log and what belongs to a running server. Files may change or vanish meanwhile."""
    target.mkdir(mode=0o700, parents=True)
    for entry in sorted(data.iterdir()):
        if entry.name in _LEFT_OUT or entry.name.startswith("pgsql_tmp"):
            continue
        if entry.is_dir():
            if entry.name in _EMPTIED and entry.parent.name == "data":
                _copy_directories(entry, target / entry.name)
            else:
                copy_tree(entry, target / entry.name)
        else:
            _copy_file(entry, target / entry.name)


def copy_stopped(data: Path, target: Path) -> None:
    """Copy the data directory of a server that does not run, its log included."""
    copy_tree(data, target)
    for segment in (data / "pg_wal").iterdir():
        if segment.is_file():
            _copy_file(segment, target / "pg_wal" / segment.name)


def _copy_directories(source: Path, target: Path) -> None:
    target.mkdir(mode=0o700)
    for entry in source.iterdir():
        if entry.is_dir() and source.name == "pg_wal":
            (target / entry.name).mkdir(mode=0o700)


def _copy_file(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError:
        # Dropped since it was listed; the log tells the restored server so.
        return
    target.chmod(0o600)


def _copy_log(source: Path, target: Path, first: str, last: str) -> None:
    """Copy the segments from `first` to `last`. Names are timeline, then position: 24 digits that sort by themselves."""
    segments = [each for each in sorted(source.iterdir()) if each.is_file() and first <= each.name[:24] <= last]
    if not {first, last} <= {segment.name for segment in segments}:
        raise DependencyUnavailable("Postgres recycled a part of its log during the backup; try again.")
    for segment in segments:
        _copy_file(segment, target / segment.name)
