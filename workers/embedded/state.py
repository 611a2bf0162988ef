"""What the supervisor writes down for `soma status`, `soma down` and its own successor: `run/state.json`. It holds no secret."""

from __future__ import annotations

import fcntl
import os
import shlex
import time
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from workers.embedded.files import make_private, write_atomically
from workers.embedded.processes import ProcessRecord


class Phase(StrEnum):
    """How far the stack, or one of its processes, is."""

    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


class ProcessState(BaseModel):
    """One supervised process."""

    model_config = ConfigDict(frozen=True)

    record: ProcessRecord | None
    phase: Phase
    restarts: int = 0
    addresses: dict[str, str] = {}


class State(BaseModel):
    """The whole stack."""

    model_config = ConfigDict(frozen=True)

    phase: Phase
    supervisor: ProcessRecord
    processes: dict[str, ProcessState]
    ports: dict[str, int]
    addresses: dict[str, str]
    versions: dict[str, str]
    replaced: list[str] = []
    culprit: str | None = None
    failure: str | None = None


class RunDirectory:
    """`home/run`: state, environment, ports and lock."""

    def __init__(self, home: Path) -> None:
        """`home` is absolute; nothing is made yet."""
        self.path = home / "run"
        self.state_file = self.path / "state.json"
        self.environment_file = self.path / "env"
        self.ports_file = self.path / "ports.json"
        self._lock_file = self.path / "lock"
        self._lock: int | None = None

    def read_state(self) -> State | None:
        """The last state written, None when there is none that can be read."""
        try:
            return State.model_validate_json(self.state_file.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def write_state(self, state: State) -> None:
        """Replace the state. Raises OSError."""
        write_atomically(self.state_file, state.model_dump_json(indent=1))

    def read_environment(self) -> dict[str, str]:
        """What the running stack's processes are configured with; empty when none runs."""
        try:
            words = shlex.split(self.environment_file.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return {name: value for name, _, value in (word.partition("=") for word in words)}

    def write_environment(self, environment: dict[str, str]) -> None:
        """Replace the environment file (0600, lines `NAME=value` that a shell can source). Raises OSError."""
        lines = [f"{name}={shlex.quote(value)}" for name, value in sorted(environment.items())]
        write_atomically(self.environment_file, "\n".join(lines) + "\n")

    def lock(self, seconds: float = 0.0) -> bool:
        """Become the one supervisor of this home; False when another still is after `seconds`. It ends with our process."""
        make_private(self.path)
        fd = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(fd)
                    return False
                time.sleep(0.05)
            else:
                self._lock = fd
                return True

    def unlock(self) -> None:
        """Let another supervise this home."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def supervised(self) -> bool:
        """Whether a supervisor lives. Raises OSError."""
        if self._lock is not None:
            return True
        if not self._lock_file.exists():
            return False
        if self.lock():
            self.unlock()
            return False
        return True
