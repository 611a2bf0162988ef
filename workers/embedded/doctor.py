"""What can be wrong with a machine, and what to do about each: the checks behind `soma doctor`.

Each check takes what it judges as arguments, so that it can be shown a machine that is broken in one way. None changes anything.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

import psutil
from pydantic import BaseModel, ConfigDict

from domain.errors import DependencyUnavailable
from workers import interpreter
from workers.embedded import binaries
from workers.embedded.plan import addressed_parts, preferred_ports
from workers.embedded.ports import is_free, reachable
from workers.embedded.state import RunDirectory

Level = Literal["ok", "warning", "trouble"]
LEAST_FREE_BYTES: Final = 1024**3
LEAST_MEMORY_BYTES: Final = 512 * 1024**2
_REGISTRY_SECONDS: Final = 20.0
_CLOCK_SLACK_SECONDS: Final = 300.0


class Finding(BaseModel):
    """What one check found; `remedy` is empty when nothing is to be done. A `warning` does not keep the stack from running."""

    model_config = ConfigDict(frozen=True)

    check: str
    level: Level
    detail: str
    remedy: str = ""


def python(version: tuple[int, ...] | None = None) -> Finding:
    """The interpreter's version."""
    seen = tuple(sys.version_info[:3]) if version is None else version
    shown = ".".join(map(str, seen))
    if trouble := interpreter.trouble(seen):
        return Finding(check="python", level="trouble", detail=f"Python {shown}", remedy=trouble)
    return Finding(check="python", level="ok", detail=f"Python {shown}")


def programs() -> list[Finding]:
    """Every program of the embedded stack, and whether Postgres may run as who we are."""
    wanted = {
        "postgres": lambda: binaries.postgres_binary("postgres"),
        "valkey": binaries.valkey_binary,
        "temporal": lambda: binaries.script("temporal"),
        "dbmate": lambda: binaries.script("dbmate"),
    }
    found: list[Finding] = []
    for name, find in wanted.items():
        try:
            found.append(Finding(check=f"program {name}", level="ok", detail=str(find())))
        except DependencyUnavailable as error:
            found.append(Finding(check=f"program {name}", level="trouble", detail="missing", remedy=error.detail))
    return found


_WAYS: Final[Mapping[binaries.Isolation, str]] = {
    "none": "Postgres runs as this user",
    "namespace": "Postgres runs in a user namespace",
    "nobody": "Postgres runs as nobody",
}


def privileges(prefer: binaries.Isolation | None = None) -> Finding:
    """Whether Postgres, which refuses root, can be run."""
    try:
        way = binaries.unprivileged(prefer)
    except DependencyUnavailable as error:
        return Finding(check="privileges", level="trouble", detail="Postgres cannot run as this user", remedy=error.detail)
    return Finding(check="privileges", level="ok", detail=_WAYS[way.kind])


def disk(home: Path, least_free: int = LEAST_FREE_BYTES) -> Finding:
    """Whether the home can be written, with room left."""
    place = next(parent for parent in (home, *home.parents) if parent.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".doctor-") as file:
            file.write(b"\0" * 65536)
            file.flush()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = f"The disk of {place} is full; free some room or set SOMA_HOME to another disk."
            return Finding(check="disk", level="trouble", detail="full", remedy=remedy)
        remedy = f"{place} cannot be written ({error.strerror}); correct its rights or set SOMA_HOME to another directory."
        return Finding(check="disk", level="trouble", detail="not writable", remedy=remedy)
    free = shutil.disk_usage(place).free
    detail = f"{free / 1024**3:.1f} GiB free at {place}"
    if free < least_free:
        remedy = f"Less than {least_free / 1024**3:.1f} GiB is left; free some room or set SOMA_HOME to another disk."
        return Finding(check="disk", level="trouble", detail=detail, remedy=remedy)
    return Finding(check="disk", level="ok", detail=detail)


def memory(available: int | None = None) -> Finding:
    """Whether the servers fit into the free memory."""
    free = psutil.virtual_memory().available if available is None else available
    detail = f"{free / 1024**2:.0f} MiB available"
    if free < LEAST_MEMORY_BYTES:
        return Finding(
            check="memory", level="warning", detail=detail, remedy="Close other programs; the stack takes about 500 MiB."
        )
    return Finding(check="memory", level="ok", detail=detail)


def ports(wanted: Mapping[str, int]) -> list[Finding]:
    """Whether each port is free, else who holds it. The stack would choose another one."""
    found: list[Finding] = []
    for name, port in wanted.items():
        if is_free(port):
            continue
        detail = f"{port} is taken by {_listener(port)}"
        remedy = f"`soma up` will choose another port for {name}; to have this one, end that process."
        found.append(Finding(check=f"port {name}", level="warning", detail=detail, remedy=remedy))
    return found or [Finding(check="ports", level="ok", detail=f"{len(wanted)} ports are free")]


def _listener(port: int) -> str:
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            address = connection.laddr
            if connection.status == psutil.CONN_LISTEN and address and address.port == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    return "a process that only root may name"


def registry(interpreter_path: str = sys.executable, environment: Mapping[str, str] | None = None) -> Finding:
    """Whether pip reaches the package registry it is configured for; only installing needs it."""
    argv = [interpreter_path, "-m", "pip", "index", "versions", "pip", "--timeout", "5", "--retries", "0"]
    seconds = _REGISTRY_SECONDS
    done = binaries.run_program(argv, seconds=seconds, inherit=True, **dict(environment or {}))
    if done.returncode == 0:
        return Finding(check="registry", level="ok", detail="pip reaches its package registry")
    if "No module named pip" in done.stderr:
        return Finding(check="registry", level="ok", detail="not looked at: this environment has no pip")
    remedy = "Check the network, the proxy and pip's index (`pip config list`); what is installed already runs without it."
    return Finding(check="registry", level="warning", detail="pip does not reach its package registry", remedy=remedy)


def previous_run(home: Path) -> Finding:
    """Whether the last supervisor was killed, or the stack runs now."""
    run = RunDirectory(home)
    try:
        running, state = run.supervised(), run.read_state()
    except OSError as error:
        remedy = f"{run.path} cannot be used ({error.strerror}); correct its rights or set SOMA_HOME to another directory."
        return Finding(check="stack", level="trouble", detail="its lock cannot be read", remedy=remedy)
    if running:
        return Finding(check="stack", level="ok", detail="running")
    if state is None or state.phase in ("stopped", "failed"):
        return Finding(check="stack", level="ok", detail="not running")
    left = [name for name, entry in state.processes.items() if entry.record and entry.record.find()]
    detail = f"its supervisor was killed; left running: {', '.join(left) or 'nothing'}"
    return Finding(check="stack", level="warning", detail=detail, remedy="`soma up` recovers; `soma down` ends what is left.")


def clock(home: Path, now: float | None = None) -> Finding:
    """Whether the clock is behind files that were written before. Tokens and leases are judged by it."""
    seen = time.time() if now is None else now
    written = [path.stat().st_mtime for path in (Path(__file__), *sorted(home.glob("run/*")), *sorted(home.glob("keys/*")))]
    behind = max(written) - seen
    if behind > _CLOCK_SLACK_SECONDS:
        remedy = "Set the clock (`timedatectl set-ntp true`); tokens and leases expire by it."
        return Finding(check="clock", level="trouble", detail=f"{behind:.0f} s behind files written before", remedy=remedy)
    return Finding(check="clock", level="ok", detail="not behind what was written before")


def replaced(environment: Mapping[str, str], home: Path) -> list[Finding]:
    """Whether each server the operator named by an address takes connections."""
    found: list[Finding] = []
    for name, address in addressed_parts(environment, home).items():
        parts = urlsplit(address if "://" in address else f"tcp://{address}")
        standard = {"postgres": 5432, "valkey": 6379, "temporal": 7233}[name]
        host, port = parts.hostname or "127.0.0.1", parts.port or standard
        if reachable(host, port):
            found.append(Finding(check=f"server {name}", level="ok", detail=f"{host}:{port} takes connections"))
        else:
            remedy = f"Start that server, correct the address, or unset it so that `soma up` starts {name} itself."
            found.append(
                Finding(check=f"server {name}", level="trouble", detail=f"{host}:{port} is not reachable", remedy=remedy)
            )
    return found


def examine(home: Path, environment: Mapping[str, str]) -> list[Finding]:
    """Every check. Takes a second where the network is well, at most about half a minute."""
    stack = previous_run(home)
    findings = [python(), *programs(), privileges(), disk(home), memory(), stack, clock(home)]
    if stack.detail != "running":
        findings += ports(preferred_ports(home, environment))
    return [*findings, *replaced(environment, home), registry()]


def worst(findings: Iterable[Finding]) -> Level:
    """The gravest level among them."""
    levels = {finding.level for finding in findings}
    return "trouble" if "trouble" in levels else "warning" if "warning" in levels else "ok"
