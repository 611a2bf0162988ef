"""What a killed supervisor left running: found without doubt, ended in order.

Three marks find them: pid and start time in the state file; Postgres' own lock file, because it overwrites its environment;
and the home's name in the environment of a child that was spawned in the instant before it could be written down.
"""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

import psutil

from workers.embedded.part import HOME_MARK
from workers.embedded.postgres import running_postmaster
from workers.embedded.state import RunDirectory

_PATIENCE_SECONDS = 15.0
_SERVERS = ("postgres", "valkey", "temporal")


def find_orphans(home: Path) -> dict[int, tuple[str, psutil.Process]]:
    """Every living process of this home's stack by pid, with its name. Call it holding the lock: else they are no orphans."""
    found: dict[int, tuple[str, psutil.Process]] = {}
    state = RunDirectory(home).read_state()
    for name, entry in (state.processes if state else {}).items():
        if entry.record and (process := entry.record.find()):
            found[process.pid] = (name, process)
    if postmaster := running_postmaster(home / "postgres" / "data"):
        found[postmaster.pid] = ("postgres", postmaster)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(HOME_MARK) == str(home):
                found.setdefault(process.pid, (process.name(), process))
    for ours in (psutil.Process(), *psutil.Process().parents()):
        found.pop(ours.pid, None)
    return found


def stop_orphans(home: Path) -> list[str]:
    """End every orphan, our own processes before the servers they use; returns their names. None is left."""
    found = find_orphans(home)
    family = [child for _, process in found.values() for child in _children(process)]
    for servers in (False, True):
        stage = [(name, process) for name, process in found.values() if (name in _SERVERS) is servers]
        for name, process in stage:
            with contextlib.suppress(psutil.NoSuchProcess):
                # SIGINT is Postgres' fast shutdown; SIGTERM would wait for its clients to leave.
                process.send_signal(signal.SIGINT if name == "postgres" else signal.SIGTERM)
        _, stubborn = psutil.wait_procs([process for _, process in stage], timeout=_PATIENCE_SECONDS)
        _kill(stubborn)
    _, left = psutil.wait_procs(family, timeout=2.0)
    _kill(left)
    return sorted(name for name, _ in found.values())


def _children(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.children(recursive=True)
    return []


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=5.0)
