"""What the stack runs: a part (a description) and a child (that part as a process).

A child's output goes straight to its log file, not through a pipe of ours: a pipe would break with the supervisor, and the
first line a server then writes would kill it. Postgres' backends make sessions of their own, so a child is more than its
process group: stopping and killing go by the list of its descendants.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from domain.errors import DependencyUnavailable

HOME_MARK = "SOMA_SUPERVISED"
"""Environment variable that names the home of the stack a process belongs to."""

_POLL_SECONDS = 0.02

# The kernel sends the parent-death signal when the *thread* that forked ends, so every child is forked by one that never does.
_spawner = ThreadPoolExecutor(1, thread_name_prefix="spawner")


@dataclass(frozen=True)
class Part:
    """One process to run.

    `argv` and `env` describe it (`env` is the whole environment), `ready` says without blocking for more than a second whether
    it serves, `stop_signal` ends it in order, `addresses` are where it serves. `lead` is put before `argv` (see `binaries`).
    """

    name: str
    argv: tuple[str, ...]
    ready: Callable[[], bool]
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    lead: tuple[str, ...] = ()
    addresses: Mapping[str, str] = field(default_factory=dict[str, str])
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGKILL
    start_seconds: float = 30.0
    stop_seconds: float = 15.0
    cwd: Path | None = None


class Child:
    """A part as a process of ours: started, asked, stopped, killed."""

    def __init__(self, part: Part, *, home: Path, tied: bool = False) -> None:
        """`tied`: the child dies with this process, however that ends (Linux; for tests)."""
        self.part = part
        self.log = home / "logs" / f"{part.name}.log"
        self._home = home
        self._tied = tied
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id, None before the first start."""
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        """Whether the process is there; says nothing about its being ready."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_status(self) -> int | None:
        """Exit code, negative for a signal; None while it runs or before it started."""
        return self._process.poll() if self._process else None

    def spawn(self) -> int:
        """Start the process without waiting for it to be ready; returns its pid. Raises DependencyUnavailable."""
        if self.running:
            raise DependencyUnavailable(f"{self.part.name} already runs as process {self.pid}; stop it first.")
        argv = self._argv()
        env = {**self.part.env, HOME_MARK: str(self._home)}
        try:
            self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DependencyUnavailable(f"The log {self.log} cannot be written ({error.strerror}); run `soma doctor`.") from error
        try:
            self._process = _spawner.submit(
                subprocess.Popen[bytes],
                argv,
                stdin=subprocess.DEVNULL,
                stdout=fd,
                stderr=fd,
                env=env,
                cwd=self.part.cwd,
                start_new_session=True,
                umask=0o077,
            ).result()
        except OSError as error:
            raise DependencyUnavailable(f"{self.part.name} could not be started ({error}); run `soma doctor`.") from error
        finally:
            os.close(fd)
        return self._process.pid

    def _argv(self) -> list[str]:
        tie: list[str] = []
        if self._tied and (setpriv := shutil.which("setpriv")):
            tie = [setpriv, "--pdeathsig", self.part.orphan_signal.name.removeprefix("SIG"), "--"]
        return [*self.part.lead, *tie, *self.part.argv]

    def wait_ready(self, seconds: float | None = None) -> None:
        """Wait until it serves. Raises DependencyUnavailable when it ends before, or is not ready in time (`seconds`)."""
        limit = self.part.start_seconds if seconds is None else seconds
        deadline = time.monotonic() + limit
        while not self.part.ready():
            if not self.running:
                raise DependencyUnavailable(
                    f"{self.part.name} ended with status {self.exit_status} while starting; its log is {self.log}."
                )
            if time.monotonic() > deadline:
                raise DependencyUnavailable(f"{self.part.name} was not ready within {limit:.0f} s; its log is {self.log}.")
            time.sleep(_POLL_SECONDS)

    def start(self) -> None:
        """Spawn and wait until it serves. Raises DependencyUnavailable; the process is then gone."""
        self.spawn()
        try:
            self.wait_ready()
        except BaseException:
            self.kill9()
            raise

    def ask_to_stop(self) -> None:
        """Send the signal that ends it in order, without waiting."""
        if self.running and self._process:
            self._process.send_signal(self.part.stop_signal)

    def stop(self) -> bool:
        """End it in order, by force after `stop_seconds`; every descendant is gone afterwards. True if no force was needed."""
        if self._process is None:
            return True
        family = descendants(self._process.pid)
        self.ask_to_stop()
        try:
            self._process.wait(self.part.stop_seconds)
        except subprocess.TimeoutExpired:
            self.kill9(patience=0.5)
            return False
        _end(family, patience=2.0)
        return True

    def kill9(self, patience: float = 5.0) -> None:
        """SIGKILL, as a crash would; returns when the process and, killed after `patience` seconds, every descendant are gone."""
        if self._process is None:
            return
        family = descendants(self._process.pid)
        self._process.kill()
        self._process.wait()
        # Postgres' backends notice by themselves that the postmaster is gone, as after a real crash.
        _end(family, patience=patience)

    def restart(self) -> None:
        """Stop if it runs, then start and wait until it serves. Raises DependencyUnavailable."""
        self.stop()
        self.start()


def descendants(pid: int) -> list[psutil.Process]:
    """Every process below `pid`, without itself; empty when it is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def _end(family: list[psutil.Process], *, patience: float) -> None:
    """Wait `patience` seconds for the processes to go by themselves, then kill them.

    psutil compares start times, so a stranger that got a freed pid is not hit.
    """
    _, alive = psutil.wait_procs(family, timeout=patience)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=5.0)
