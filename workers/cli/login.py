"""`soma login`: log in as a person, by the browser; the other commands then ask as that person."""

from __future__ import annotations

from typing import Annotated

import typer

from workers.cli.options import TENANT, TenantOption


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(login)
    app.command()(logout)


def login(
    tenant: TenantOption = TENANT,
    scope: Annotated[
        str, typer.Option("--scope", help="Scopes to ask for, separated by spaces; all of your roles' without it.")
    ] = "",
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address instead of opening a browser.")] = False,
    within: Annotated[float, typer.Option("--within", min=1, max=600, help="Wait at most this long, in seconds.")] = 300,
) -> None:
    """Log in as a person: open the log-in page, and keep the token for the other commands until it expires.

    Example: soma login --tenant demo

    Exit codes: 0 logged in, 1 refused or not in time, 2 called wrongly, 3 no gateway answers.
    """
    import webbrowser

    from workers.cli.environment import home
    from workers.cli.loopback import LoopbackLogin
    from workers.embedded.credentials import write_login

    with LoopbackLogin(tenant, scope) as asked:
        if no_browser or not webbrowser.open(asked.address):
            typer.echo(asked.address)
        granted = asked.token(within)
    path = write_login(home(), tenant, granted)
    typer.echo(f"Logged in for {granted.expires_in} seconds, in {path}.", err=True)


def logout(tenant: TenantOption = TENANT) -> None:
    """Forget the token of `soma login`; the commands ask as the tenant's admin client again. Example: soma logout"""
    from workers.cli.environment import home
    from workers.embedded.credentials import login_file

    path = login_file(home(), tenant)
    path.unlink(missing_ok=True)
    typer.echo(f"Nobody is logged in for {tenant}.")
