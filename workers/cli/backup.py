"""`soma backup` and `soma restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workers.cli.environment import home, show_json


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(backup)
    app.command()(restore)


def backup(
    file: Annotated[Path, typer.Argument(help="The file to write; it must not exist yet.")],
    json: Annotated[bool, typer.Option("--json", help="Print what it holds as JSON.")] = False,
) -> None:
    """Write Postgres (with all blobs), Temporal's file and the keys, as of one moment, to one file; it is as secret as the keys.

    The stack may run. Exit codes: 0 done, 1 nothing to back up or the file exists, 2 a server is replaced by an address,
    3 Postgres does not answer.
    """
    from workers.embedded.backup import back_up

    manifest = back_up(home(), file)
    size = file.stat().st_size
    if json:
        show_json({"file": str(file), "bytes": size, "files": len(manifest.files), "created_at": manifest.created_at.isoformat()})
    else:
        typer.echo(f"Wrote {file}: {len(manifest.files)} files, {size / 1024**2:.1f} MiB.")


def restore(
    file: Annotated[Path, typer.Argument(help="A file that `soma backup` wrote.")],
    json: Annotated[bool, typer.Option("--json", help="Print what was restored as JSON.")] = False,
) -> None:
    """Bring a backup into an empty SOMA_HOME, checked file by file; `soma up` then starts it.

    Exit codes: 0 done, 1 no such file or the home is not empty, 2 the file is damaged or no backup.
    """
    from workers.embedded.restore import restore as bring_back

    manifest = bring_back(home(), file)
    if json:
        show_json({"home": str(home()), "files": len(manifest.files), "created_at": manifest.created_at.isoformat()})
    else:
        typer.echo(f"Restored the state of {manifest.created_at:%Y-%m-%d %H:%M:%S} UTC into {home()}; start it with `soma up`.")
