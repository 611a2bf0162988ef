"""One file that holds Postgres, Temporal's file and the keys, as of one moment.

Postgres must know at least what Temporal's histories know: a step that runs again finds its stored row and gives the same answer,
but a history that is ahead of Postgres never runs the step whose row is missing. So our own processes are halted for the few
milliseconds in which first Temporal's file and then Postgres are fixed: what is restored is what a power cut in that moment
would have left, which is what the whole design recovers from. Valkey holds only what may be lost and is left out; blobs are
rows of Postgres.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Generator, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psutil
from pydantic import BaseModel, ConfigDict

from domain.errors import Conflict, InvalidRequest, NotFound
from workers.embedded.base_backup import copy_running, copy_stopped
from workers.embedded.keys import Keys
from workers.embedded.orphans import find_orphans
from workers.embedded.part import descendants
from workers.embedded.postgres import SUPERUSER, connection_url
from workers.embedded.state import RunDirectory, State

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
_SERVERS: Final = frozenset({"postgres", "valkey", "temporal"})
LONGEST_HALT_SECONDS: Final = 10.0
_STANDSTILL_SECONDS: Final = 3.0


class Manifest(BaseModel):
    """What a backup holds: the SHA-256 of every file and every directory, by path below the home."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    created_at: datetime
    postgres_major: int
    files: dict[str, str]
    directories: list[str]


def back_up(home: Path, file: Path) -> Manifest:
    """Write a backup of the stack of `home`, running or stopped, to `file` (0600), which must not exist yet.

    Raises Conflict, NotFound, InvalidRequest, DependencyUnavailable, OSError; nothing is left behind then.
    """
    if file.exists():
        raise Conflict(f"{file} exists; choose another name.")
    data = home / "postgres" / "data"
    if not (data / "PG_VERSION").exists() or not (home / "temporal" / "temporal.db").exists():
        raise NotFound(f"{home} holds no Postgres and Temporal of ours; servers you set by an address have backups of their own.")
    run = RunDirectory(home)
    with tempfile.TemporaryDirectory(dir=file.absolute().parent, prefix=".soma-backup-") as name:
        stage = Path(name)
        shutil.copytree(home / "keys", stage / "keys")
        if run.supervised():
            _copy_running_stack(home, stage, run.read_state())
        else:
            _copy_stopped_stack(home, stage, run)
        manifest = _describe(stage)
        (stage / MANIFEST).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
        packed = stage.with_name(f"{stage.name}.tar.gz")
        try:
            _pack(stage, packed, [MANIFEST, *manifest.directories, *manifest.files])
            packed.rename(file)
        finally:
            packed.unlink(missing_ok=True)
    return manifest


def _copy_stopped_stack(home: Path, stage: Path, run: RunDirectory) -> None:
    if not run.lock(seconds=1.0):
        raise Conflict("The stack is starting or stopping; try again.")
    try:
        if find_orphans(home):
            raise Conflict("A killed supervisor left processes running; run `soma up` or `soma down`, then back up.")
        (stage / "postgres").mkdir(mode=0o700)
        copy_stopped(home / "postgres" / "data", stage / "postgres" / "data")
        with _temporal_copy(home, stage) as copy:
            copy()
    finally:
        run.unlock()


def _copy_running_stack(home: Path, stage: Path, state: State | None) -> None:
    if state is None or state.phase != "ready":
        raise Conflict("The stack is starting or stopping; try again when `soma status` says ready.")
    if missing := {"postgres", "temporal"} - set(state.processes):
        raise InvalidRequest(
            f"{' and '.join(sorted(missing))} is replaced by an address; back that server up with its own tools."
        )
    ours = [entry.record.find() for name, entry in state.processes.items() if name not in _SERVERS and entry.record]
    (stage / "postgres").mkdir(mode=0o700)
    secret = Keys(home).passwords().superuser
    url = connection_url(state.ports["postgres"], SUPERUSER, secret, "postgres")
    with contextlib.ExitStack() as stack:
        copies: list[Callable[[], None]] = []

        def at_the_end(finish: Callable[[], None]) -> None:
            with halted(process for process in ours if process):
                copies.append(stack.enter_context(_temporal_copy(home, stage)))
                finish()
            # Only now, with our processes running again: it copies what was fixed above.
            for copy in copies:
                copy()

        asyncio.run(copy_running(url, home / "postgres" / "data", stage / "postgres" / "data", at_the_end))


@contextlib.contextmanager
def _temporal_copy(home: Path, stage: Path) -> Generator[Callable[[], None]]:
    """Fix the state of Temporal's file by a read transaction; what is yielded copies that state, however late it is called."""
    (stage / "temporal").mkdir(mode=0o700)
    target = stage / "temporal" / "temporal.db"
    # A backup may be used by the thread that did not open the file, never by two at once.
    source = sqlite3.connect(home / "temporal" / "temporal.db", isolation_level=None, timeout=10, check_same_thread=False)

    def copy() -> None:
        with contextlib.closing(sqlite3.connect(target)) as destination:
            source.backup(destination)
        target.chmod(0o600)

    try:
        source.execute("PRAGMA query_only = on")
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        yield copy
    finally:
        source.close()


@contextlib.contextmanager
def halted(processes: Iterable[psutil.Process], longest: float = LONGEST_HALT_SECONDS) -> Generator[None]:
    """Halt these processes and their descendants. A helper lets them go on even if this process is killed meanwhile."""
    family = [each for process in processes for each in (process, *descendants(process.pid))]
    if not family:
        yield
        return
    pids = " ".join(str(process.pid) for process in family)
    release = subprocess.Popen[bytes](["/bin/sh", "-c", f"sleep {longest}; kill -CONT {pids}"], start_new_session=True)
    try:
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGSTOP)
        _await_standstill(family)
        yield
    finally:
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(release.pid, signal.SIGKILL)
        release.wait()


def _await_standstill(family: list[psutil.Process]) -> None:
    """A signal is taken when the process is next scheduled, so wait until each has. Raises Conflict when one does not stop."""
    deadline = time.monotonic() + _STANDSTILL_SECONDS
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            while process.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE):
                if time.monotonic() > deadline:
                    raise Conflict(f"Process {process.pid} could not be halted for a moment; try again.")
                time.sleep(0.001)


def _describe(stage: Path) -> Manifest:
    paths = sorted(stage.rglob("*"))
    return Manifest(
        format=FORMAT,
        created_at=datetime.now(UTC),
        postgres_major=int((stage / "postgres" / "data" / "PG_VERSION").read_text()),
        files={str(path.relative_to(stage)): sha256(path) for path in paths if path.is_file()},
        directories=[str(path.relative_to(stage)) for path in paths if path.is_dir()],
    )


def sha256(path: Path) -> str:
    """The file's digest, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pack(stage: Path, file: Path, names: list[str]) -> None:
    file.touch(mode=0o600)
    with tarfile.open(file, "w:gz", compresslevel=3, format=tarfile.PAX_FORMAT) as archive:
        for name in names:
            archive.add(stage / name, arcname=name, recursive=False)
