"""Cleans up after a drill, whatever ended it: waits for the end of its input, then stops the stack and removes its directory.

It is a process of its own, in a session of its own, because a drill that is interrupted or killed cleans up nothing itself.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

_DOWN_SECONDS = 150


def processes_of(directory: Path) -> list[psutil.Process]:
    """Every living process that names the directory: by command line, working directory or environment."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            named = (*process.cmdline(), process.cwd(), process.environ().get("SOMA_SUPERVISED", ""))
            ours = any(str(directory) in text for text in named)
            if ours and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def clean(directory: Path) -> None:
    """Ends every process of the directory, in order where that goes, and removes it."""
    try:
        subprocess.run(
            [sys.executable, "-m", "workers.cli.main", "down"], check=False, capture_output=True, timeout=_DOWN_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        pass  # What it leaves is killed below.
    finally:
        deadline = time.monotonic() + 10
        while (left := processes_of(directory)) and time.monotonic() < deadline:
            for process in left:
                try:
                    process.kill()
                except psutil.Error:
                    continue
            psutil.wait_procs(left, timeout=2)
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.read()
    clean(Path(sys.argv[1]))
