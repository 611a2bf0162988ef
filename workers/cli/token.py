"""`soma token`: an access token to call the gateway with."""

from __future__ import annotations

from typing import Annotated

import typer

from workers.cli.environment import show_json
from workers.cli.options import TENANT, JsonOption, TenantOption


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(token)


def token(
    tenant: TenantOption = TENANT,
    scope: Annotated[
        str, typer.Option("--scope", help="Scopes the token is to have, separated by spaces; all of the client's without it.")
    ] = "",
    json: JsonOption = False,
) -> None:
    """Print an access token; it lives for minutes.

    Example: curl -H "Authorization: Bearer $(soma token)" http://127.0.0.1:8080/v1/sessions

    Exit codes: 0 printed, 1 the credentials are refused, 2 no such scope or tenant, 3 no gateway answers.
    """
    from workers.cli.gateway_client import open_gateway

    with open_gateway(tenant, scope=scope, as_json=json) as gateway:
        granted = gateway.token()
    if json:
        show_json(granted)
    else:
        typer.echo(granted["access_token"])
