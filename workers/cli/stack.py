"""`soma up` and `soma down`: the embedded stack as a whole."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli.environment import FAILED, NOT_RUNNING, OK, USAGE, complain, home, show_json

if TYPE_CHECKING:
    from pathlib import Path

    from workers.embedded.plan import Plan

_DETACHED_SECONDS = 900.0
_DOWN_SECONDS = 90.0


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(up)
    app.command()(down)


def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when all is ready; the stack keeps running.")] = False,
    tour: Annotated[bool, typer.Option("--tour/--no-tour", help="Show the tour once all is ready.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Show the tour, stop, and exit with its code.")] = False,
    servers_only: Annotated[
        bool, typer.Option("--servers-only", help="Only Postgres, Valkey and Temporal, migrated; run the rest yourself.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="With --detach: print the status as JSON.")] = False,
    background: Annotated[bool, typer.Option("--background", hidden=True)] = False,
) -> None:
    """Start the stack and serve until Ctrl-C.

    Parts whose address is set (DATABASE_URL, REDIS_URL, TEMPORAL_ADDRESS) are not started. A taken port is reported and another
    one chosen. Exit codes: 0 stopped in order, 1 failed or running already, 2 called wrongly, 3 something did not start.
    """
    if detach and (tour or once):
        complain("--detach shows no tour; run `soma tour` afterwards.")
        raise typer.Exit(USAGE)
    if json and not detach:
        complain("--json goes with --detach.")
        raise typer.Exit(USAGE)
    if servers_only and (tour or once):
        complain("The tour needs the whole stack; leave out --servers-only.")
        raise typer.Exit(USAGE)
    if detach:
        _detach(servers_only=servers_only, as_json=json)
        return
    from workers.embedded.plan import make_plan
    from workers.embedded.services import SERVICES
    from workers.embedded.state import RunDirectory
    from workers.embedded.supervisor import Supervisor

    where = home()
    talk = _quiet if background else Talk()
    supervisor = Supervisor(lambda: make_plan(where, services=() if servers_only else SERVICES), RunDirectory(where), talk)
    show = Tour(stop_after=once) if tour or once else None
    supervisor.run(show)
    if once and show:
        raise typer.Exit(show.code if show.code is not None else FAILED)


class Talk:
    """Tells a person what the supervisor does, a line for each event."""

    def __init__(self) -> None:
        """Remembers when it began, to say how long the start took."""
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False)
        self._began = time.monotonic()

    def __call__(self, event: str, **members: Any) -> None:
        """Say one event."""
        part = members.get("part", "")
        texts: dict[str, Callable[[], str]] = {
            "ready": lambda: f"[green]ready[/]    {part} [dim]{members['seconds']} s[/]",
            "done": lambda: f"[green]done[/]     {part} [dim]{members['seconds']} s[/]",
            "replaced": lambda: f"[cyan]yours[/]    {part}: its address is set, so it is not started",
            "port-taken": lambda: f"[yellow]moved[/]    {part}: port {members['port']} is taken, using {members['instead']}",
            "recovered": lambda: f"[yellow]ended[/]    left by a killed run: {', '.join(members['processes'])}",
            "died": lambda: f"[red]died[/]     {members['reason']}; starting it again",
            "stopping": lambda: "stopping",
            "stopped": lambda: f"[dim]stopped[/]  {part}" + ("" if members["clean"] else " [red](by force)[/]"),
            "serving": self._serving,
        }
        if text := texts.get(event):
            self._console.print(text())

    def _serving(self) -> str:
        return (
            f"[bold]Everything serves after {time.monotonic() - self._began:.1f} s.[/] "
            "`soma status` shows where; Ctrl-C stops it."
        )


def _quiet(_: str, **__: Any) -> None:
    """The supervisor's own log says it all."""


class Tour:
    """`soma tour` in a process of its own, so that the supervisor can restart what the tour kills."""

    def __init__(self, *, stop_after: bool) -> None:
        """With `stop_after` the stack stops when the tour has ended."""
        self.code: int | None = None
        self._stop_after = stop_after
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self, plan: Plan) -> None:
        """Start it with the stack's environment."""
        from workers.embedded.services import process_environment, soma_command

        self._process = subprocess.Popen[bytes](soma_command("tour"), env=process_environment(plan.environment))

    def over(self) -> bool:
        """Whether the tour has ended and was all that was wanted."""
        if self._process and self.code is None:
            self.code = self._process.poll()
        return self._stop_after and self.code is not None

    def end(self) -> None:
        """End it in order, after five seconds by force."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _detach(*, servers_only: bool, as_json: bool) -> None:
    from workers.embedded.services import process_environment, soma_command
    from workers.embedded.state import Phase, RunDirectory

    where = home()
    run = RunDirectory(where)
    if run.supervised():
        complain("The stack runs already; see `soma status`, or stop it with `soma down`.")
        raise typer.Exit(FAILED)
    log = where / "logs" / "supervisor.log"
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    arguments = ["up", "--background", *(["--servers-only"] if servers_only else [])]
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab") as output:
        process = subprocess.Popen[bytes](
            soma_command(*arguments),
            env=process_environment({"SOMA_HOME": str(where)}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    deadline = time.monotonic() + _DETACHED_SECONDS
    while time.monotonic() < deadline:
        state = run.read_state()
        mine = state is not None and state.supervisor.pid == process.pid
        if state and mine and state.phase is Phase.READY:
            _show_ready(where, as_json=as_json)
            # It outlives us on purpose; forget it without a warning.
            process.returncode = OK
            return
        if process.poll() is not None:
            _show_failure(where, state.culprit if state and mine else None, state.failure if state and mine else None)
            raise typer.Exit(process.returncode or FAILED)
        time.sleep(0.1)
    process.terminate()
    process.wait()
    _show_failure(where, "supervisor", f"The stack was not ready within {_DETACHED_SECONDS:.0f} s.")
    raise typer.Exit(NOT_RUNNING)


def _show_ready(where: Path, *, as_json: bool) -> None:
    from workers.cli.status import show_report
    from workers.embedded.status import report

    found = report(where, seconds=0.2)
    if as_json:
        show_json(found.model_dump())
    else:
        show_report(found)


def _show_failure(where: Path, culprit: str | None, failure: str | None) -> None:
    from workers.embedded.logs import tail

    name = culprit or "supervisor"
    log = where / "logs" / f"{name}.log"
    for line in tail(log, 20):
        typer.echo(f"{name} | {line}", err=True)
    complain(failure or f"The stack did not start; its log is {log}.")


def down(
    json: Annotated[bool, typer.Option("--json", help="Print what was stopped as JSON.")] = False,
) -> None:
    """Stop the stack; none of its processes is left. Exit codes: 0 nothing runs any more, 1 it did not stop."""
    import signal

    from workers.embedded.orphans import stop_orphans
    from workers.embedded.state import RunDirectory

    where = home()
    run = RunDirectory(where)
    stopped: list[str] = []
    if run.supervised():
        state = run.read_state()
        supervisor = state.supervisor.find() if state else None
        if state and supervisor:
            stopped = sorted(state.processes)
            supervisor.send_signal(signal.SIGTERM)
    if run.path.exists():
        if not run.lock(seconds=_DOWN_SECONDS):
            complain(f"The supervisor did not stop within {_DOWN_SECONDS:.0f} s; see `soma logs supervisor`.")
            raise typer.Exit(FAILED)
        stopped += stop_orphans(where)
        run.environment_file.unlink(missing_ok=True)
        run.unlock()
    if json:
        show_json({"stopped": stopped})
    elif stopped:
        typer.echo(f"Stopped {', '.join(stopped)}.")
    else:
        typer.echo("Nothing was running.")
    sys.stdout.flush()
