"""One supervised process over time: started, ready, dead, started again.

A process that served for a while is restarted at once when it dies; one that keeps dying waits longer each time, up to ten
seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from domain.errors import DependencyUnavailable
from workers.embedded.part import Child
from workers.embedded.processes import ProcessRecord, record
from workers.embedded.state import Phase, ProcessState

FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 10.0
_ASK_SECONDS = 0.05
_STEADY_SECONDS = 2.0
"""A process that served this long has not failed to start."""


class Watched:
    """A child and what is to be done about it next; `tick()` does it and never blocks for more than about a second."""

    def __init__(self, child: Child, tell: Callable[..., None]) -> None:
        """`tell(event, part=…, …)` hears what happens."""
        self.child = child
        self.phase = Phase.WAITING
        self.restarts = 0
        self.failure: str | None = None
        """Why the last start failed, in a sentence."""
        self._tell = tell
        self._record: ProcessRecord | None = None
        self._failures = 0
        self._since = 0.0
        self._next = 0.0

    @property
    def name(self) -> str:
        """The part's name."""
        return self.child.part.name

    @property
    def state(self) -> ProcessState:
        """What `soma status` shows of it."""
        return ProcessState(
            record=self._record, phase=self.phase, restarts=self.restarts, addresses=dict(self.child.part.addresses)
        )

    def begin(self) -> None:
        """Spawn the process. Raises DependencyUnavailable when it cannot even be executed."""
        self._record = record(self.name, self.child.spawn())
        self.phase, self._since, self._next = Phase.STARTING, time.monotonic(), 0.0
        self._tell("started", part=self.name, pid=self._record.pid)

    def tick(self) -> bool:
        """Look at the process and do what is due; True when something changed."""
        if self.phase is Phase.STARTING:
            return self._look_at_start()
        if self.phase is Phase.READY and not self.child.running:
            served = time.monotonic() - self._since
            self._failures = 1 if served >= _STEADY_SECONDS else self._failures + 1
            self._died(f"{self.name} ended with status {self.child.exit_status} after serving {served:.1f} s")
            return True
        if self.phase is Phase.WAITING and self._failures and time.monotonic() >= self._next:
            # What a crash left of its family would hold port and files.
            self.child.kill9()
            self.restarts += 1
            try:
                self.begin()
            except DependencyUnavailable as error:
                self._failures += 1
                self._died(error.detail)
            return True
        return False

    def _look_at_start(self) -> bool:
        part, waited = self.child.part, time.monotonic() - self._since
        if not self.child.running:
            self._failures += 1
            self._died(f"{self.name} ended with status {self.child.exit_status} while starting")
            return True
        # Asking may itself start a process, whose end wakes the supervisor: without this pause it would ask without rest.
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + _ASK_SECONDS
        if part.ready():
            self.phase, self._since = Phase.READY, time.monotonic()
            self._tell("ready", part=self.name, seconds=round(waited, 2), restarts=self.restarts)
            return True
        if waited > part.start_seconds:
            self.child.kill9()
            self._failures += 1
            self._died(f"{self.name} was not ready within {part.start_seconds:.0f} s")
            return True
        return False

    def _died(self, why: str) -> None:
        wait = min(FIRST_WAIT_SECONDS * 2 ** (self._failures - 1), LONGEST_WAIT_SECONDS)
        self.phase, self._next, self.failure = Phase.WAITING, time.monotonic() + wait, why
        self._tell("died", level="warning", part=self.name, reason=why, restart_in_seconds=wait)

    def due_in(self) -> float | None:
        """Seconds until `tick()` is worth calling, None when only the process's death is."""
        if self.phase is Phase.STARTING:
            return max(0.0, self._next - time.monotonic())
        if self.phase is Phase.WAITING and self._failures:
            return max(0.0, self._next - time.monotonic())
        return None
