"""`soma up`, `down`, `status`, `logs`, `migrate`: what a person sees, and what a crash leaves."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import uuid

import asyncpg
import psutil
import pytest
from soma_command import Soma, eventually
from temporalio.client import Client, WorkflowExecutionStatus

from workers.embedded.stack import EmbeddedStack

# Each command is a process of its own, and two cores may be shared with other tests.
pytestmark = pytest.mark.timeout(400)


def kill_supervisor(soma: Soma) -> None:
    """SIGKILL, and wait until the kernel has freed its lock."""
    supervisor = psutil.Process(soma.pid("supervisor"))
    supervisor.kill()
    eventually(lambda: not supervisor.is_running() or supervisor.status() == psutil.STATUS_ZOMBIE)


def assert_no_secret_where_it_does_not_belong(soma: Soma) -> None:
    """No password in state, logs or command lines; no file that others may read."""
    passwords = json.loads((soma.home / "keys" / "passwords.json").read_text()).values()
    public = [soma.home / "run" / "state.json", *(soma.home / "logs").iterdir()]
    for path in public:
        text = path.read_text(errors="replace")
        assert not any(password in text for password in passwords), path
    for process in soma.processes():
        assert not any(password in word for password in passwords for word in process.cmdline())
    for path in soma.home.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


async def test_up_status_logs_down(soma: Soma) -> None:
    assert soma("status", "--seconds", "0.1").returncode == 3

    shown = json.loads(soma.ok("up", "--detach", "--servers-only", "--json"))
    assert shown["ready"] is True
    assert {row["name"] for row in shown["rows"]} == {"supervisor", "postgres", "valkey", "temporal"}
    processes = soma.processes()
    assert len(processes) > 4

    table = soma.ok("status")
    assert f"http://127.0.0.1:{soma.ports['temporal-ui']}" in table
    assert f"127.0.0.1:{soma.ports['postgres']}" in table
    figures = json.loads(soma.ok("status", "--json", "--seconds", "0.2"))
    assert figures["memory_mb"] > 50
    assert figures["memory_mb"] == pytest.approx(sum(row["memory_mb"] for row in figures["rows"]), abs=0.2)

    assert "database system is ready" in soma.ok("logs", "postgres", "-n", "50")
    lines = [json.loads(line) for line in soma.ok("logs", "--json", "-n", "5").splitlines()]
    assert {"supervisor", "valkey"} <= {line["part"] for line in lines}
    assert soma("logs", "nobody").returncode == 1
    following = soma.start("logs", "supervisor", "--follow", "-n", "1")
    assert following.stdout is not None
    with following.stdout:
        assert '"serving"' in following.stdout.readline()
        with (soma.home / "logs" / "supervisor.log").open("a") as log:
            log.write('{"event": "a new line"}\n')
        assert "a new line" in following.stdout.readline()
        following.send_signal(signal.SIGINT)
        assert following.wait(20) == 0

    assert "soma_app_login" in soma.ok("migrate")
    again = soma("up", "--servers-only")
    assert again.returncode == 1
    assert "running already" in again.stderr
    assert soma("up", "--detach").returncode == 1

    assert_no_secret_where_it_does_not_belong(soma)

    assert "postgres" in soma.ok("down")
    assert soma.processes() == []
    assert soma("status", "--seconds", "0.1").returncode == 3
    assert soma("migrate").returncode == 3
    assert "Nothing was running" in soma.ok("down")


async def test_kill_9_of_the_supervisor_then_up_keeps_a_row_and_a_workflow(soma: Soma) -> None:
    soma.ok("up", "--detach", "--servers-only")
    environment = soma.environment()
    connection = await asyncpg.connect(environment["DATABASE_MIGRATION_URL"])
    await connection.execute("create table kept (id int)")
    await connection.execute("insert into kept values (42)")
    await connection.close()
    client = await Client.connect(environment["TEMPORAL_ADDRESS"])
    workflow_id = f"kept-{uuid.uuid4()}"
    await client.start_workflow("never-worked-on", id=workflow_id, task_queue="nobody")
    before = {name: soma.pid(name) for name in ("postgres", "valkey", "temporal")}

    kill_supervisor(soma)
    status = soma("status", "--seconds", "0.1")
    assert status.returncode == 3
    assert "`soma up` recovers" in status.stderr

    soma.ok("up", "--detach", "--servers-only")
    assert "recovered" in (soma.home / "logs" / "supervisor.log").read_text()
    after = {name: soma.pid(name) for name in before}
    assert not set(before.values()) & set(after.values())
    assert not any(psutil.pid_exists(pid) for pid in before.values())
    assert soma.environment() == environment, "addresses stay the same, so links and open shells stay valid"
    connection = await asyncpg.connect(environment["DATABASE_MIGRATION_URL"])
    assert await connection.fetchval("select id from kept") == 42
    await connection.close()
    client = await Client.connect(environment["TEMPORAL_ADDRESS"])
    described = await client.get_workflow_handle(workflow_id).describe()
    assert described.status is WorkflowExecutionStatus.RUNNING

    kill_supervisor(soma)
    assert len(soma.processes()) > 4
    soma.ok("down")
    assert soma.processes() == []


def test_servers_that_die_are_started_again_at_once(soma: Soma) -> None:
    soma.ok("up", "--detach", "--servers-only")
    for name in ("valkey", "temporal", "postgres"):
        before = soma.pid(name)
        os.kill(before, signal.SIGKILL)
        waited = eventually(lambda name=name, before=before: soma.pid(name) != before)
        # Postgres' own children must first see that their postmaster is gone.
        assert waited < (6.0 if name == "postgres" else 1.5)
        eventually(lambda name=name: soma.state()["processes"][name]["phase"] == "ready", seconds=20)
    log = [json.loads(line) for line in soma.ok("logs", "supervisor", "-n", "200").splitlines()]
    died = [line for line in log if line["event"] == "died"]
    assert [line["part"] for line in died] == ["valkey", "temporal", "postgres"]
    assert all(line["restart_in_seconds"] <= 0.5 for line in died)


def test_a_taken_port_is_reported_and_another_one_kept(soma: Soma) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        taken = int(stranger.getsockname()[1])
        (soma.home / "run" / "ports.json").write_text(json.dumps({**soma.ports, "valkey": taken}))
        up = soma.start("up", "--servers-only")
        eventually(lambda: soma.phase == "ready", seconds=150)
        chosen = soma.state()["ports"]["valkey"]
        assert chosen != taken
        up.send_signal(signal.SIGINT)
        output, _ = up.communicate(timeout=60)
    assert up.returncode == 0, output
    assert f"port {taken} is taken" in output
    assert "Everything serves" in output
    assert soma.processes() == []
    assert json.loads((soma.home / "run" / "ports.json").read_text())["valkey"] == chosen


def test_a_part_whose_address_is_set_is_not_started(soma: Soma, stack: EmbeddedStack) -> None:
    given = {name: value for name, value in stack.environment.items() if name.startswith(("DATABASE_", "REDIS_"))}
    up = soma("up", "--detach", "--servers-only", **given)
    assert up.returncode == 0, up.stderr
    assert set(soma.state()["processes"]) == {"temporal"}
    assert sorted(soma.state()["replaced"]) == ["postgres", "valkey"]
    assert soma.environment()["DATABASE_URL"] == given["DATABASE_URL"]
    assert stack.part("postgres").running


def test_what_cannot_start_names_the_culprit_and_shows_its_log(soma: Soma) -> None:
    database = soma.home / "temporal"
    database.mkdir(parents=True)
    (database / "temporal.db").write_text("this is no database" * 100)
    up = soma("up", "--detach", "--servers-only")
    assert up.returncode == 3
    assert "temporal ended with status" in up.stderr
    assert "temporal | " in up.stderr
    assert "Traceback" not in up.stderr
    assert soma.processes() == []


def test_wrong_calls_are_exit_code_2(soma: Soma) -> None:
    assert soma("up", "--nonsense").returncode == 2
    assert soma("up", "--detach", "--once").returncode == 2
    assert soma("up", "--detach", GATEWAY_PORT="high").returncode == 2
    assert soma("nonsense").returncode == 2
    assert soma("up", "--servers-only", DATABASE_URL="postgresql://a:b@127.0.0.1/c").returncode == 2


def test_help_is_quick_and_names_the_exit_codes(soma: Soma) -> None:
    text = soma.ok("--help")
    assert "Exit codes: 0 done, 1 failed, 2 called wrongly, 3" in text
    heavy = {"pydantic", "asyncpg", "temporalio", "rich", "fastapi", "psutil", "httpx2"}
    listing = (
        "import sys, workers.cli.main; "
        "from typer.main import get_command; get_command(workers.cli.main.app); print(' '.join(sys.modules))"
    )
    loaded = subprocess.run([sys.executable, "-c", listing], env=soma.env, capture_output=True, text=True, check=True)
    assert not heavy & set(loaded.stdout.split())
