"""What every command starts from: the home directory, and the running stack's environment.

Nothing heavy is imported here: `soma --help` must be quick.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer

OK, FAILED, USAGE, NOT_RUNNING = 0, 1, 2, 3
"""Exit codes of every command: done, failed, called wrongly, the stack or a server it needs does not run."""


def home() -> Path:
    """The home directory (`SOMA_HOME`, else `.soma` here), absolute."""
    return Path(os.environ.get("SOMA_HOME") or ".soma").absolute()


def use_stack_environment() -> None:
    """Take what the running stack's processes are configured with, except what is set already."""
    from workers.embedded.state import RunDirectory

    for name, value in RunDirectory(home()).read_environment().items():
        os.environ.setdefault(name, value)


def show_json(value: object) -> None:
    """Print a value as JSON."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def show_table(title: str | None, columns: Iterable[str], rows: Iterable[Iterable[Any]], *, right: Iterable[str] = ()) -> None:
    """Print a table; the columns named in `right` hold figures."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", no_wrap=column in right)
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    # A pipe has no width: nothing is cut off there.
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 200).print(table)


def complain(sentence: str) -> None:
    """Say on stderr what is wrong and what to do."""
    typer.echo(f"soma: {sentence}", err=True)
