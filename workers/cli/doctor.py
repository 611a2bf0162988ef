"""`soma doctor`: what is wrong with this machine, and what to do about it."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from workers.cli.environment import FAILED, home, show_json, show_table


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Look for trouble: Python, programs, rights, disk, memory, ports, clock, a killed run, servers you set, package registry.

    Exit codes: 0 the stack can run (warnings may be shown), 1 something keeps it from running.
    """
    from workers.embedded.doctor import examine, worst

    findings = examine(home(), os.environ)
    if json:
        show_json([finding.model_dump() for finding in findings])
    else:
        show_table(None, ("check", "", "found"), ((each.check, each.level, each.detail) for each in findings))
        for each in findings:
            if each.remedy:
                typer.echo(f"{each.level}: {each.check}: {each.remedy}")
    if worst(findings) == "trouble":
        raise typer.Exit(FAILED)
