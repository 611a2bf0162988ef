"""The relay as a process of its own, as `soma relay` runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.error import URLError
from urllib.request import urlopen

from fakes.kafka_cluster import free_port

ROOT = Path(__file__).parents[1]


def eventually(check: Callable[[], bool], seconds: float = 20.0) -> None:
    """Looks until it is so; fails the test when the time is up."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it never became so"
        time.sleep(0.05)


class RelayProcess:
    """`with RelayProcess(environment) as relay:` runs until the block ends. Its methods block."""

    def __init__(self, environment: Mapping[str, str], bootstrap: str | None, **settings: str) -> None:
        self.port = free_port()
        self._environment = {
            **os.environ,
            **environment,
            "PYTHONPATH": str(ROOT),
            "RELAY_ADMIN_PORT": str(self.port),
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap or "",
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._directory = tempfile.TemporaryDirectory(prefix="relay-")
        self._log = Path(self._directory.name) / "log"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def log(self) -> str:
        """What it wrote so far."""
        return self._log.read_text()

    def __enter__(self) -> Self:
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", "from workers.cli.relay import relay; relay()"],
                env=self._environment,
                cwd=ROOT,
                stderr=log,
            )
        try:
            eventually(self.serves)
        except BaseException:
            self.kill9()
            self._directory.cleanup()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.end()
        self._directory.cleanup()

    def serves(self) -> bool:
        """Whether it lives and says so."""
        assert self.process.poll() is None, self.log
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=2) as answer:
                return answer.status == 200
        except URLError:
            return False

    def metric(self, name: str) -> float:
        """The value of a metric, summed over its labels."""
        with urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=2) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name)

    def active(self) -> bool:
        return self.metric("somagent_relay_active") == 1

    def kill9(self) -> None:
        self.process.kill()
        self.process.wait(timeout=10)

    def end(self) -> int:
        """SIGTERM; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)
