"""What runs where, and what it costs: the figures behind `soma status`."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict

from workers.embedded.part import descendants
from workers.embedded.processes import ProcessRecord
from workers.embedded.state import Phase, RunDirectory

_MEGABYTE = 1024 * 1024


class Row(BaseModel):
    """One supervised process with all its descendants. CPU in percent of one core, memory in MiB."""

    model_config = ConfigDict(frozen=True)

    name: str
    phase: str
    pid: int | None
    address: str
    restarts: int
    processes: int
    cpu_percent: float
    memory_mb: float


class Report(BaseModel):
    """The whole stack; `running` means that a supervisor lives, `ready` that every process serves."""

    model_config = ConfigDict(frozen=True)

    home: str
    running: bool
    ready: bool
    phase: str
    rows: list[Row]
    cpu_percent: float
    memory_mb: float
    addresses: dict[str, str]
    replaced: list[str]
    failure: str | None


def report(home: Path, seconds: float = 1.0) -> Report:
    """Look at the stack of `home`, measuring CPU over `seconds`. Raises OSError."""
    run = RunDirectory(home)
    running, state = run.supervised(), run.read_state()
    records: dict[str, ProcessRecord | None] = {}
    if state:
        records = {"supervisor": state.supervisor} | {name: entry.record for name, entry in state.processes.items()}
    families = {name: _family(entry) for name, entry in records.items()}
    before = {name: _cpu_seconds(family) for name, family in families.items()}
    began = time.monotonic()
    time.sleep(seconds)
    elapsed = max(time.monotonic() - began, 0.001)
    rows: list[Row] = []
    for name, family in families.items():
        entry = state.processes.get(name) if state else None
        spent = sum(now - before[name].get(pid, now) for pid, now in _cpu_seconds(family).items())
        phase = entry.phase.value if entry else "running"
        rows.append(
            Row(
                name=name,
                phase=_shown(phase, alive=bool(family), stopped=state is None or state.phase is Phase.STOPPED),
                pid=family[0].pid if family else None,
                address=", ".join(entry.addresses.values()) if entry and family else "",
                restarts=entry.restarts if entry else 0,
                processes=len(family),
                cpu_percent=round(100 * spent / elapsed, 1),
                memory_mb=round(sum(map(_memory, family)) / _MEGABYTE, 1),
            )
        )
    phases = [row.phase for row in rows if row.name != "supervisor"]
    phase = state.phase.value if state else "stopped"
    return Report(
        home=str(home),
        running=running,
        ready=running and phase == "ready" and all(each == "ready" for each in phases),
        phase=phase if running or phase in ("stopped", "failed") else "unsupervised",
        rows=rows,
        cpu_percent=round(sum(row.cpu_percent for row in rows), 1),
        memory_mb=round(sum(row.memory_mb for row in rows), 1),
        addresses=dict(state.addresses) if state and running else {},
        replaced=list(state.replaced) if state else [],
        failure=state.failure if state else None,
    )


def _shown(phase: str, *, alive: bool, stopped: bool) -> str:
    if alive:
        return phase
    return "stopped" if stopped else "gone"


def _family(entry: ProcessRecord | None) -> list[psutil.Process]:
    """The process and its descendants; the supervisor alone, for the others are its children."""
    process = entry.find() if entry else None
    if entry is None or process is None:
        return []
    return [process] if entry.name == "supervisor" else [process, *descendants(process.pid)]


def _cpu_seconds(family: list[psutil.Process]) -> dict[int, float]:
    found: dict[int, float] = {}
    for process in family:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            found[process.pid] = times.user + times.system
    return found


def _memory(process: psutil.Process) -> float:
    """Bytes: its own pages and its share of the shared ones, where the system tells; else all it maps."""
    with contextlib.suppress(psutil.Error):
        return float(getattr(process.memory_full_info(), "pss", 0) or process.memory_info().rss)
    with contextlib.suppress(psutil.Error):
        return float(process.memory_info().rss)
    return 0.0
