"""Who a process is: pid and start, so that one is never taken for another that got its number later."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict


class ProcessRecord(BaseModel):
    """A process as it is written down: `started` is opaque and equal only for the very same process."""

    model_config = ConfigDict(frozen=True)

    name: str
    pid: int
    started: str

    def find(self) -> psutil.Process | None:
        """The process, None when it has ended or its pid is another's now."""
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            if process.status() != psutil.STATUS_ZOMBIE and start_mark(self.pid) == self.started:
                return process
        return None


def record(name: str, pid: int) -> ProcessRecord:
    """Write down a living process; one that has ended meanwhile gets a mark nobody has."""
    return ProcessRecord(name=name, pid=pid, started=start_mark(pid) or "ended")


def start_mark(pid: int) -> str | None:
    """When the process started; None when there is none.

    On Linux it is the boot id and field 22 of /proc/<pid>/stat (ticks since boot), which no change of the clock moves.
    """
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.joinpath("self").exists():
        with contextlib.suppress(OSError, IndexError):
            # The name in brackets may hold spaces and brackets itself.
            ticks = stat.read_text().rpartition(")")[2].split()[19]
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            return f"{boot}:{ticks}"
        return None
    with contextlib.suppress(psutil.Error):
        return f"{psutil.Process(pid).create_time():.3f}"
    return None
