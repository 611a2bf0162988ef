"""`soma` as a process of its own, on the servers of the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workers.embedded.stack import EmbeddedStack

ROOT = Path(__file__).parents[2]


@contextmanager
def process(stack: EmbeddedStack, command: str, **settings: str) -> Iterator[None]:
    """`soma` with this command, until the block ends; then it has to end in order."""
    environment = {**os.environ, **stack.environment, **settings, "PYTHONPATH": str(ROOT)}
    running = subprocess.Popen([sys.executable, "-m", "workers.cli.main", *command.split()], env=environment, cwd=ROOT)
    try:
        yield
        assert running.poll() is None
    finally:
        running.terminate()
        assert running.wait(timeout=30) == 0
