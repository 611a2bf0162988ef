"""`soma logs`: what the stack's processes wrote."""

from __future__ import annotations

import contextlib
import json as json_format
import sys
import time
from typing import Annotated

import typer

from workers.cli.environment import FAILED, NOT_RUNNING, complain, home

_POLL_SECONDS = 0.2


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(logs)


def _names(incomplete: str) -> list[str]:
    return sorted(log.stem for log in (home() / "logs").glob("*.log") if log.stem.startswith(incomplete))


def logs(
    name: Annotated[str | None, typer.Argument(help="One part, else all of them.", autocompletion=_names)] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing what is written, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Lines of each log to print first.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="Print each line as a JSON object.")] = False,
) -> None:
    """Print the last lines of the logs. Exit codes: 0 done, 1 no such log, 3 nothing has run yet."""
    from workers.embedded.logs import Follower, tail

    directory = home() / "logs"
    known = _names("")
    if not known:
        complain(f"{directory} holds no log yet; start the stack with `soma up`.")
        raise typer.Exit(NOT_RUNNING)
    if name is not None and name not in known:
        complain(f"There is no log named {name}; there are {', '.join(known)}.")
        raise typer.Exit(FAILED)
    chosen = [name] if name else known
    followers = {each: Follower(directory / f"{each}.log") for each in chosen}
    for each in chosen:
        for line in tail(directory / f"{each}.log", lines):
            _show(each, line, alone=name is not None, as_json=json)
    # Ctrl-C is how following ends, not a failure.
    with contextlib.suppress(KeyboardInterrupt):
        while follow:
            for each, follower in followers.items():
                for line in follower.read():
                    _show(each, line, alone=name is not None, as_json=json)
            sys.stdout.flush()
            time.sleep(_POLL_SECONDS)


def _show(name: str, line: str, *, alone: bool, as_json: bool) -> None:
    if as_json:
        typer.echo(json_format.dumps({"part": name, "line": line}, ensure_ascii=False))
    else:
        typer.echo(line if alone else f"{name:<10} | {line}")
