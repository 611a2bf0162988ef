"""`soma bootstrap`: tenant, admin client and constitution, made where they are missing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from workers.cli.environment import complain, home, show_json
from workers.cli.options import TENANT

if TYPE_CHECKING:
    from workers.bootstrap import Prepared


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(bootstrap)


def bootstrap(
    tenant: Annotated[str, typer.Option("--tenant", help="The tenant to make, with an admin client of its own.")] = TENANT,
    new_secret: Annotated[
        bool, typer.Option("--new-secret", help="Give the client a new secret; the old one is void at once.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print what stands as JSON, without the secret.")] = False,
) -> None:
    """Make tenant, admin client and constitution where missing.

    Safe to repeat; `soma up` does this for the tenant demo. The client's credentials are written to
    SOMA_HOME/keys/<tenant>-client.json.

    Example: soma bootstrap --tenant acme

    Exit codes: 0 all stands, 1 the client's name is taken, 2 the tenant cannot be named so, 3 the database does not answer.
    """
    from runtime.settings import settings
    from workers.bootstrap import prepare_platform
    from workers.embedded.credentials import checked_tenant
    from workers.embedded.plan import operators_values
    from workers.embedded.state import RunDirectory

    where = home()
    ours = "DATABASE_URL" not in operators_values(os.environ, where, RunDirectory(where))
    found = prepare_platform(where, settings(), tenant=checked_tenant(tenant), ours=ours, new_secret=new_secret)
    if json:
        show_json(found.model_dump(mode="json"))
    else:
        typer.echo(f"Tenant {found.tenant}: client {found.client_id} {found.client}; constitution {found.constitution}.")
        if found.credentials:
            typer.echo(f"Credentials: {found.credentials}")
    _warn(found)


def _warn(found: Prepared) -> None:
    if found.client == "elsewhere":
        complain(
            f"The secret of {found.client_id} is not in this home; copy the file there, or make a new one with "
            f"`soma bootstrap --tenant {found.tenant} --new-secret`."
        )
    elif found.client == "disabled":
        complain(f"The client {found.client_id} is disabled, so no command can use it; bootstrap another tenant.")
    if found.constitution == "unsigned":
        complain("No constitution is active and this home has no trusted key to sign one; until one is, no work starts.")
