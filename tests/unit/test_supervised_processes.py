"""Children, their restarts, their logs, and never anybody else's process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from domain.errors import DependencyUnavailable, InvalidRequest
from workers.embedded.backup import halted
from workers.embedded.files import write_atomically
from workers.embedded.logs import Follower, rotate, tail
from workers.embedded.orphans import find_orphans, stop_orphans
from workers.embedded.part import Child, Part
from workers.embedded.plan import make_plan
from workers.embedded.ports import Ports, free_ports
from workers.embedded.processes import ProcessRecord, record
from workers.embedded.state import Phase, ProcessState, RunDirectory, State
from workers.embedded.watch import Watched

SLEEPER = (sys.executable, "-c", "import time; time.sleep(60)")
STUBBORN = (
    sys.executable,
    "-c",
    "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True); "
    "print('up', flush=True); time.sleep(60)",
)


def part(argv: tuple[str, ...], ready: Callable[[], bool] = lambda: True, **more: float) -> Part:
    """A part named `thing`."""
    return Part(name="thing", argv=argv, ready=ready, env=dict(os.environ), **more)


def alive(pid: int) -> bool:
    """Whether a process lives and is no zombie."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_child_that_ignores_the_signal_is_ended_by_force_with_its_family(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "thing.log"
    child = Child(part(STUBBORN, lambda: log.exists() and "up" in log.read_text(), stop_seconds=0.3), home=tmp_path)
    child.start()
    assert child.pid is not None
    family = [child.pid, *(each.pid for each in psutil.Process(child.pid).children(recursive=True))]
    assert len(family) == 2, "its own child has left its session and group"
    assert child.stop() is False
    assert [pid for pid in family if alive(pid)] == []


def test_a_child_that_ends_while_starting_is_told_apart_from_one_too_slow(tmp_path: Path) -> None:
    ended = Child(part((sys.executable, "-c", "raise SystemExit(7)"), lambda: False), home=tmp_path)
    with pytest.raises(DependencyUnavailable, match="ended with status 7"):
        ended.start()
    slow = Child(part(SLEEPER, lambda: False, start_seconds=0.2), home=tmp_path)
    with pytest.raises(DependencyUnavailable, match="not ready within"):
        slow.start()
    assert not slow.running


def test_a_program_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DependencyUnavailable, match="could not be started"):
        Child(part(("/nonexistent/program",)), home=tmp_path).start()


def test_one_that_served_is_restarted_at_once_and_one_that_keeps_dying_ever_later(tmp_path: Path) -> None:
    told: list[tuple[str, dict[str, object]]] = []
    child = Child(part(SLEEPER), home=tmp_path)
    watched = Watched(child, lambda event, **members: told.append((event, members)))
    watched.begin()
    try:
        waits: list[float] = []
        for _ in range(4):
            tick_until(watched, lambda: watched.phase is Phase.READY)
            pid = child.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            tick_until(watched, lambda: watched.phase is Phase.WAITING)
            waits.append(float(str(told[-1][1]["restart_in_seconds"])))
            tick_until(watched, lambda pid=pid: child.pid != pid)
        assert waits == [0.1, 0.2, 0.4, 0.8]
        assert watched.restarts == 4
    finally:
        child.stop()
    assert [event for event, _ in told[:3]] == ["started", "ready", "died"]


def tick_until(watched: Watched, reached: Callable[[], bool]) -> None:
    """Drive a watched child as the supervisor does."""
    deadline = time.monotonic() + 10
    while not reached():
        assert time.monotonic() < deadline
        watched.tick()
        time.sleep(0.01)


def state_of(processes: dict[str, ProcessRecord]) -> State:
    """A state file's content that names these processes."""
    return State(
        phase=Phase.READY,
        supervisor=ProcessRecord(name="supervisor", pid=2**22 + 1, started="never"),
        processes={name: ProcessState(record=each, phase=Phase.READY) for name, each in processes.items()},
        ports={},
        addresses={},
        versions={},
    )


def test_orphans_are_stopped_and_a_stranger_with_the_same_pid_is_not(tmp_path: Path) -> None:
    orphan = subprocess.Popen(SLEEPER)
    stranger = subprocess.Popen(SLEEPER)
    try:
        ours = record("valkey", orphan.pid)
        reused = ProcessRecord(name="temporal", pid=stranger.pid, started=f"{ours.started}0")
        RunDirectory(tmp_path).write_state(state_of({"valkey": ours, "temporal": reused}))
        assert set(find_orphans(tmp_path)) == {orphan.pid}
        assert stop_orphans(tmp_path) == ["valkey"]
        assert not alive(orphan.pid)
        assert alive(stranger.pid)
    finally:
        for process in (orphan, stranger):
            process.kill()
            process.wait()


def test_a_child_never_written_down_is_found_by_its_mark(tmp_path: Path) -> None:
    child = Child(part(SLEEPER), home=tmp_path)
    child.start()
    try:
        assert child.pid in find_orphans(tmp_path)
        assert find_orphans(tmp_path / "other") == {}
    finally:
        child.stop()


def test_servers_die_with_the_process_they_are_tied_to(tmp_path: Path) -> None:
    script = (
        "import sys, time, pathlib; from workers.embedded.stack import EmbeddedStack; "
        f"stack = EmbeddedStack(pathlib.Path({str(tmp_path)!r}), parts=('postgres', 'valkey'), durable=False, tied=True); "
        "stack.start(migrate=False); print(*(child.pid for child in stack.children.values()), flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.getcwd()}
    )
    assert owner.stdout is not None
    with owner.stdout:
        pids = [int(pid) for pid in owner.stdout.readline().split()]
    assert len(pids) == 2
    owner.kill()
    owner.wait()
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_logs_are_bounded_and_followed_over_a_rotation(tmp_path: Path) -> None:
    log = tmp_path / "thing.log"
    log.write_text("".join(f"line {number}\n" for number in range(1000)))
    assert tail(log, 2) == ["line 998", "line 999"]
    assert tail(log, 0) == []
    assert len(tail(log, 5000)) == 1000
    assert tail(tmp_path / "none.log", 3) == []

    follower = Follower(log)
    with log.open("a") as writer:
        writer.write("one\ntw")
        writer.flush()
        assert follower.read() == ["one"]
        writer.write("o\n")
        writer.flush()
        assert follower.read() == ["two"]
        assert rotate(tmp_path, max_bytes=10**6) == []
        assert rotate(tmp_path, max_bytes=1000) == ["thing"]
        assert log.stat().st_size == 0
        assert follower.read() == []
        writer.write("after\n")
        writer.flush()
        assert log.read_text() == "after\n", "a child that appends goes on at the beginning"
        assert follower.read() == ["after"]
    older = tmp_path / "thing.log.1"
    assert older.read_text().endswith("line 999\none\ntwo\n")
    assert older.stat().st_mode & 0o077 == 0


def test_a_taken_port_is_replaced_and_the_choice_remembered(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    (free,) = free_ports(1)
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        taken = int(stranger.getsockname()[1])
        first = Ports(file, {"a": free, "b": taken})
        chosen = first.choose(["a", "b"])
        assert chosen["a"] == free
        assert first.moved == {"b": (taken, chosen["b"])}
    again = Ports(file, {"a": free, "b": taken})
    assert again.choose(["a", "b"]) == chosen, "the freed port is not moved back to: links stay valid"
    (mine,) = free_ports(1)
    assert Ports(file, {"a": free}, wanted={"a": mine}).choose(["a"]) == {"a": mine}
    file.write_text("no json")
    assert Ports(file, {"a": free}).choose(["a"]) == {"a": free}


def test_the_environment_file_can_hold_any_value_and_be_sourced(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    values = {"DATABASE_URL": "postgresql://u:it's $HOME `x`@h/d?a=b", "PUBLIC_URL": "http://127.0.0.1:8080", "EMPTY": ""}
    run.write_environment(values)
    assert run.read_environment() == values
    shell = subprocess.run(
        ["sh", "-c", f'. "{run.environment_file}"; printf %s "$DATABASE_URL"'], capture_output=True, text=True, check=True
    )
    assert shell.stdout == values["DATABASE_URL"]
    assert run.environment_file.stat().st_mode & 0o777 == 0o600


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "file"
    write_atomically(target, "first")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(target, "\udc80")
    assert target.read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_plan_leaves_out_what_the_operator_replaced(tmp_path: Path) -> None:
    plan = make_plan(
        tmp_path, {"REDIS_URL": "redis://cache:6379/0", "TEMPORAL_PROFILE": "prod", "PUBLIC_URL": "https://soma.example"}
    )
    assert set(plan.stack.children) == {"postgres"}
    assert sorted(plan.replaced) == ["temporal", "valkey"]
    assert plan.environment["REDIS_URL"] == "redis://cache:6379/0"
    assert plan.environment["PUBLIC_URL"] == "https://soma.example"
    assert "TEMPORAL_ADDRESS" not in plan.environment


def test_an_own_environment_exported_into_the_shell_is_not_the_operators(tmp_path: Path) -> None:
    first = make_plan(tmp_path, {})
    again = make_plan(tmp_path, first.environment)
    assert again.replaced == []
    assert again.environment == first.environment


def test_half_an_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="DATABASE_RELAY_URL"):
        make_plan(tmp_path, {"DATABASE_URL": "postgresql://a:b@h/d"})
    with pytest.raises(InvalidRequest, match="GATEWAY_PORT"):
        make_plan(tmp_path, {"GATEWAY_PORT": "70000"})


def test_keys_are_of_the_promised_form_and_never_made_again(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, {})
    keys = plan.stack.keys
    signing = json.loads(keys.signing.read_text())["keys"][0]
    assert (signing["kty"], signing["crv"], bool(signing["kid"]), bool(signing["d"])) == ("OKP", "Ed25519", True, True)
    codec = json.loads(keys.codec.read_text())["keys"][0]
    assert codec["kid"].startswith("k-")
    private = json.loads(keys.constitution.read_text())["keys"][0]
    (trusted,) = json.loads(keys.constitution_trusted.read_text())["keys"]
    assert trusted == {name: value for name, value in private.items() if name != "d"}
    before = {path.name: path.read_bytes() for path in keys.directory.iterdir()}
    keys.ensure()
    assert {path.name: path.read_bytes() for path in keys.directory.iterdir()} == before


def test_halted_processes_go_on_even_when_the_one_that_halted_them_is_killed() -> None:
    ours = subprocess.Popen(STUBBORN, stdout=subprocess.PIPE)
    assert ours.stdout is not None
    with ours.stdout:
        ours.stdout.readline()
    process = psutil.Process(ours.pid)
    family = [process, *process.children()]
    try:
        with halted([process]):
            assert {each.status() for each in family} == {psutil.STATUS_STOPPED}
        assert psutil.STATUS_STOPPED not in {each.status() for each in family}

        script = (
            "import sys, time, psutil; from workers.embedded.backup import halted\n"
            f"with halted([psutil.Process({ours.pid})], longest=1): print('halted', flush=True); time.sleep(60)"
        )
        other = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.getcwd()}
        )
        assert other.stdout is not None
        with other.stdout:
            other.stdout.readline()
        other.kill()
        other.wait()
        assert process.status() == psutil.STATUS_STOPPED
        deadline = time.monotonic() + 10
        while process.status() == psutil.STATUS_STOPPED:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        for each in family:
            each.kill()
        ours.wait()
