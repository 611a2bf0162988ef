"""`soma doctor` shown machines that are broken in one way each."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from workers.embedded import doctor
from workers.embedded.ports import free_ports
from workers.embedded.processes import ProcessRecord
from workers.embedded.state import Phase, ProcessState, RunDirectory, State

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("version", [(3, 9, 2), (3, 10, 14), (3, 14, 0), (2, 7, 18)])
def test_an_unfit_python_is_named(version: tuple[int, int, int]) -> None:
    found = doctor.python(version)
    assert found.level == "trouble"
    assert ".".join(map(str, version[:2])) in found.remedy
    assert "3.11" in found.remedy


def test_this_python_is_fit() -> None:
    assert doctor.python().level == "ok"


def test_a_nearly_full_disk_is_named(tmp_path: Path) -> None:
    assert doctor.disk(tmp_path / "not" / "yet" / "made", least_free=0).level == "ok"
    found = doctor.disk(tmp_path, least_free=2**62)
    assert (found.level, "free some room" in found.remedy) == ("trouble", True)


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    """A file system of 64 KiB, mounted where only this child process sees it."""
    script = (
        f'mount -t tmpfs -o size=64k tmpfs "{tmp_path}" && head -c 65536 /dev/zero >"{tmp_path}/filler"; '
        f'"{sys.executable}" -c "from pathlib import Path; from workers.embedded.doctor import disk; '
        f"print(disk(Path('{tmp_path}')).model_dump_json())\""
    )
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    found = doctor.Finding.model_validate_json(done.stdout)
    assert (found.level, found.detail) == ("trouble", "full"), done.stderr
    assert "SOMA_HOME" in found.remedy


def test_a_home_that_cannot_be_written_is_named() -> None:
    found = doctor.disk(Path("/proc/soma"))
    assert (found.level, found.detail) == ("trouble", "not writable")


def test_little_memory_is_a_warning() -> None:
    assert doctor.memory(100 * 1024**2).level == "warning"
    assert doctor.memory(8 * 1024**3).level == "ok"


def test_a_taken_port_is_named_with_its_holder() -> None:
    (free,) = free_ports(1)
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = int(holder.getsockname()[1])
        (found,) = doctor.ports({"gateway": taken, "valkey": free})
    assert found.level == "warning"
    assert found.check == "port gateway"
    assert f"process {os.getpid()}" in found.detail
    assert psutil.Process().name() in found.detail
    assert doctor.ports({"valkey": free})[0].level == "ok"


def test_a_registry_out_of_reach_is_a_warning_and_one_within_is_not(tmp_path: Path) -> None:
    (closed,) = free_ports(1)
    clean = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "0", "PIP_EXTRA_INDEX_URL": "", "no_proxy": "127.0.0.1"}
    away = doctor.registry(environment={**clean, "PIP_INDEX_URL": f"http://127.0.0.1:{closed}/simple"})
    if importlib.util.find_spec("pip") is None:
        assert (away.level, "no pip" in away.detail) == ("ok", True)
        return
    assert away.level == "warning"
    assert "network" in away.remedy

    # A package registry (PEP 503) that holds one version of pip.
    (tmp_path / "simple" / "pip").mkdir(parents=True)
    (tmp_path / "simple" / "pip" / "index.html").write_text('<a href="pip-99.0-py3-none-any.whl">pip-99.0-py3-none-any.whl</a>')
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        there = doctor.registry(environment={**clean, "PIP_INDEX_URL": f"http://127.0.0.1:{server.server_port}/simple"})
        server.shutdown()
    assert there.level == "ok"


def test_a_clock_behind_what_was_written_is_named(tmp_path: Path) -> None:
    assert doctor.clock(tmp_path).level == "ok"
    found = doctor.clock(tmp_path, now=0.0)
    assert (found.level, "Set the clock" in found.remedy) == ("trouble", True)


def test_a_killed_supervisor_is_named(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert doctor.previous_run(tmp_path).detail == "not running"
    gone = ProcessRecord(name="supervisor", pid=2**22 + 1, started="never")
    server = ProcessState(record=gone, phase=Phase.READY)
    run.write_state(
        State(phase=Phase.READY, supervisor=gone, processes={"postgres": server}, ports={}, addresses={}, versions={})
    )
    assert doctor.previous_run(tmp_path).level == "warning"
    assert run.lock()
    assert RunDirectory(tmp_path).supervised()
    assert doctor.previous_run(tmp_path).detail == "running"
    run.unlock()


def test_a_server_named_by_address_that_is_away_is_named(tmp_path: Path) -> None:
    (closed,) = free_ports(1)
    with socket.create_server(("127.0.0.1", 0)) as redis:
        environment = {
            "DATABASE_URL": f"postgresql://u:p@127.0.0.1:{closed}/db",
            "REDIS_URL": f"redis://127.0.0.1:{redis.getsockname()[1]}/0",
        }
        found = {each.check: each.level for each in doctor.replaced(environment, tmp_path)}
    assert found == {"server postgres": "trouble", "server valkey": "ok"}


def test_every_program_is_here() -> None:
    assert {each.level for each in doctor.programs()} == {"ok"}
    assert doctor.privileges().level == "ok"


def test_the_gravest_level_counts() -> None:
    findings = [doctor.memory(1), doctor.python()]
    assert doctor.worst(findings) == "warning"
    assert doctor.worst([*findings, doctor.python((3, 8, 0))]) == "trouble"
    assert doctor.worst([doctor.python()]) == "ok"
