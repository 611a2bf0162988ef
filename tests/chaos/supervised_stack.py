"""The product as `soma up --detach` runs it, in a home of its own, with real pids to kill.

A pid comes from the supervisor's own state file and is killed only if it is still the very process that was written down.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil
from e2e.soma_command import ROOT, Soma
from temporalio.client import Client

from runtime.plugin import somagent_plugin
from workers.embedded.credentials import DEMO_TENANT, Credentials, read_credentials
from workers.embedded.postgres import running_postmaster
from workers.embedded.state import Phase, RunDirectory

PROCESSES: Final = ("worker", "gateway", "relay", "postgres", "valkey", "temporal")
START_SECONDS: Final = 240
RECOVERY_SECONDS: Final = 120
_LOOK_SECONDS: Final = 0.05


@dataclass(frozen=True)
class Killed:
    """One SIGKILL: whom it hit, and when."""

    process: str
    pid: int
    at: datetime


class SupervisedStack:
    """`async with SupervisedStack(MODEL_BASE_URL=…) as stack:`; whatever ends the block or this process, nothing is left."""

    def __init__(self, **settings: str) -> None:
        """`settings` are environment variables of the stack's processes."""
        self._settings = settings
        self._directory = Path(tempfile.mkdtemp(prefix="soma-chaos-"))
        # The embedded Postgres runs as another user, which must be able to pass through.
        self._directory.chmod(0o711)
        self._soma = Soma(self._directory)
        self._run = RunDirectory(self._soma.home)
        self._janitor: subprocess.Popen[bytes] | None = None
        self.environment: dict[str, str] = {}

    @property
    def home(self) -> Path:
        return self._soma.home

    @property
    def gateway_url(self) -> str:
        return f"http://127.0.0.1:{self._soma.ports['gateway']}"

    @property
    def credentials(self) -> Credentials:
        return read_credentials(self.home, DEMO_TENANT)

    async def temporal(self) -> Client:
        """A client with the product's own converter and codec."""
        plugin = somagent_plugin(Path(self.environment["CODEC_KEY_FILE"]))
        return await Client.connect(self.environment["TEMPORAL_ADDRESS"], plugins=[plugin])

    async def __aenter__(self) -> Self:
        self._janitor = subprocess.Popen[bytes](
            [sys.executable, str(Path(__file__).with_name("janitor.py")), str(self._directory)],
            stdin=subprocess.PIPE,
            env={**os.environ, "SOMA_HOME": str(self.home), "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            start_new_session=True,
        )
        try:
            await asyncio.to_thread(self._up)
        except BaseException:
            await asyncio.to_thread(self._clean)
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await asyncio.to_thread(self._clean)

    def _up(self) -> None:
        up = self._soma("up", "--detach", timeout=START_SECONDS + 20, **self._settings)
        assert up.returncode == 0, up.stderr + up.stdout
        self.environment = self._run.read_environment()

    def _clean(self) -> None:
        if self._janitor is not None:
            self._janitor.communicate(timeout=200)
            self._janitor = None
        assert not self._directory.exists(), f"the janitor left {self._directory}"

    def _find(self, name: str) -> psutil.Process | None:
        """The process when it serves; of Postgres the postmaster."""
        state = self._run.read_state()
        entry = state.processes.get(name) if state else None
        if entry is None or entry.phase is not Phase.READY or entry.record is None:
            return None
        process = entry.record.find()
        if name == "postgres" and process is not None:
            return running_postmaster(self.home / "postgres" / "data")
        return process

    async def serving(self, name: str) -> psutil.Process:
        """The process, once the supervisor has seen it serve. Raises AssertionError when that takes too long."""
        deadline = time.monotonic() + RECOVERY_SECONDS
        while (process := self._find(name)) is None:
            assert time.monotonic() < deadline, f"{name} did not come back within {RECOVERY_SECONDS} s\n{self.log(name)}"
            await asyncio.sleep(_LOOK_SECONDS)
        return process

    async def kill(self, name: str) -> Killed:
        """SIGKILL, to that one process."""
        process = await self.serving(name)
        at = datetime.now(UTC)
        process.kill()
        return Killed(name, process.pid, at)

    async def all_serve(self) -> None:
        """Returns when every process serves."""
        for name in PROCESSES:
            await self.serving(name)

    def log(self, name: str, lines: int = 30) -> str:
        """The end of a process's log."""
        path = self.home / "logs" / f"{name}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""

    def told_of(self, word: str) -> list[str]:
        """The lines of all logs that hold a word, such as a request id."""
        logs = sorted((self.home / "logs").glob("*.log"))
        return [f"{path.stem}: {line}" for path in logs for line in path.read_text(errors="replace").splitlines() if word in line]

    def keep_logs(self) -> None:
        """Copies all logs to the directory that `CHAOS_LOGS` names, if it names one."""
        if wanted := os.environ.get("CHAOS_LOGS"):
            shutil.copytree(self.home / "logs", wanted, dirs_exist_ok=True)
