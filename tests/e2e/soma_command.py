"""The `soma` command as a user runs it: a process of its own, in a home of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from workers.embedded.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
_PORTS = (
    "gateway",
    "gateway-admin",
    "worker-admin",
    "relay-admin",
    "temporal",
    "temporal-ui",
    "temporal-http",
    "temporal-metrics",
    "postgres",
    "valkey",
)
_CONFIGURING = ("DATABASE_", "REDIS_", "TEMPORAL_", "GATEWAY_", "WORKER_", "RELAY_", "PUBLIC_URL", "SOMA_")


class Soma:
    """Runs `soma` with SOMA_HOME in a temporary directory and ports that no other test uses."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        # A space, as in many a user's path.
        self.home = directory / "a home"
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(_CONFIGURING)}
        self._started: list[subprocess.Popen[str]] = []
        self.env |= {"SOMA_HOME": str(self.home), "PYTHONPATH": str(ROOT)}
        self.ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
        run = self.home / "run"
        run.mkdir(parents=True)
        (run / "ports.json").write_text(json.dumps(self.ports))

    def __call__(self, *arguments: str, timeout: float = 120, given: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; `given` is its standard input."""
        # A file, not a pipe: a detached stack must be free to outlive the command without holding the test's pipe open.
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err, tempfile.TemporaryFile("w+") as taken:
            taken.write(given)
            taken.seek(0)
            process = subprocess.run(
                [sys.executable, "-m", "workers.cli.main", *arguments],
                stdout=out,
                stderr=err,
                stdin=taken,
                env={**self.env, **env},
                cwd=self.directory,
                timeout=timeout,
                check=False,
            )
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(process.args, process.returncode, out.read(), err.read())

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        """Run a command beside the test."""
        process = subprocess.Popen[str](
            [sys.executable, "-m", "workers.cli.main", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**self.env, **env},
            cwd=self.directory,
            text=True,
        )
        self._started.append(process)
        return process

    def ok(self, *arguments: str, timeout: float = 120) -> str:
        """Run a command that must succeed; returns what it printed."""
        done = self(*arguments, timeout=timeout)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def state(self) -> dict[str, Any]:
        """What the supervisor wrote down."""
        return json.loads((self.home / "run" / "state.json").read_text())

    @property
    def phase(self) -> str:
        """How far the stack is; empty before its supervisor wrote anything."""
        try:
            return str(self.state()["phase"])
        except FileNotFoundError:
            return ""

    def pid(self, name: str) -> int:
        """The pid of a supervised process, or of the supervisor."""
        state = self.state()
        entry = state["supervisor"] if name == "supervisor" else state["processes"][name]["record"]
        return int(entry["pid"])

    def environment(self) -> dict[str, str]:
        """The running stack's environment."""
        lines = (self.home / "run" / "env").read_text().splitlines()
        return {name: value.strip("'") for name, _, value in (line.partition("=") for line in lines)}

    def processes(self) -> list[psutil.Process]:
        """Every living process that names this home: by command line, working directory or environment."""
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            try:
                named = (*process.cmdline(), process.cwd(), process.environ().get("SOMA_SUPERVISED", ""))
                if process.status() != psutil.STATUS_ZOMBIE and any(str(self.home) in text for text in named):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def clean(self) -> None:
        """End whatever a failed test left."""
        for started in self._started:
            started.kill()
            started.wait()
            if started.stdout is not None:
                started.stdout.close()
        if self.processes():
            self("down")
        for process in self.processes():
            process.kill()


def eventually(check: Any, seconds: float = 10.0, every: float = 0.05) -> float:
    """Wait until `check()` is true; returns the seconds it took. Raises AssertionError when it never is."""
    began = time.monotonic()
    while not check():
        assert time.monotonic() - began < seconds, "it did not come true in time"
        time.sleep(every)
    return time.monotonic() - began
