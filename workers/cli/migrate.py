"""`soma migrate`: bring the database to the newest schema."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from workers.cli.environment import NOT_RUNNING, complain, show_json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(migrate)


def migrate(
    wait: Annotated[float, typer.Option("--wait", min=0, max=600, help="Wait this long for the server, in seconds.")] = 60.0,
    json: Annotated[bool, typer.Option("--json", help="Print the login users as JSON.")] = False,
) -> None:
    """Apply what is missing of the schema and make the login users of DATABASE_URL, DATABASE_RELAY_URL and DATABASE_TOKEN_URL.

    Safe to repeat. Exit codes: 0 done, 2 an address cannot be used, 3 the database is not known, does not answer or refuses.
    """
    import asyncio

    from adapters.postgres.migrate import migrate as run_migrations
    from workers.embedded.binaries import script
    from workers.embedded.logins import logins

    owner = os.environ.get("DATABASE_MIGRATION_URL")
    if not owner:
        complain("No database is known; start the stack with `soma up` or set DATABASE_MIGRATION_URL.")
        raise typer.Exit(NOT_RUNNING)
    users = logins(os.environ)
    asyncio.run(run_migrations(owner, users, dbmate=script("dbmate"), wait_seconds=wait))
    if json:
        show_json({"users": {user.user: user.group for user in users}})
    else:
        typer.echo(f"The schema is up to date; users: {', '.join(user.user for user in users) or 'none named'}.")
