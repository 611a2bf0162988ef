"""`soma token`: an access token to call the gateway with, one that is delegated from it, and its end.

Tokens come in by standard input: what stands on a command line is seen by every user of the machine.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from domain.errors import InvalidRequest
from domain.names import TOKENS
from workers.cli.environment import show_json
from workers.cli.options import TENANT, JsonOption, TenantOption

_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS: Final = "urn:ietf:params:oauth:token-type:access_token"

_tokens = typer.Typer(invoke_without_command=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(_tokens, name="token")


@_tokens.callback()
def token(
    context: typer.Context,
    tenant: TenantOption = TENANT,
    scope: Annotated[
        str, typer.Option("--scope", help="Scopes the token is to have, separated by spaces; all of the client's without it.")
    ] = "",
    json: JsonOption = False,
) -> None:
    """Print an access token; it lives for minutes. The commands delegate and revoke tokens.

    Example: curl -H "Authorization: Bearer $(soma token)" http://127.0.0.1:8080/v1/sessions

    Exit codes: 0 printed, 1 the credentials are refused, 2 no such scope or tenant, 3 no gateway answers.
    """
    if context.invoked_subcommand is not None:
        return
    from workers.cli.gateway_client import open_gateway

    with open_gateway(tenant, scope=scope, as_json=json) as gateway:
        granted = gateway.token()
    if json:
        show_json(granted)
    else:
        typer.echo(granted["access_token"])


@_tokens.command()
def exchange(
    scope: Annotated[
        str, typer.Option("--scope", help="Scopes it is to have, each within the token's; without it all that may be delegated.")
    ] = "",
    seconds: Annotated[int | None, typer.Option("--expires-in", min=1, help="Seconds it lives at most.")] = None,
    cap: Annotated[int | None, typer.Option("--budget-cap", min=0, help="What its model calls may use in all.")] = None,
    unit: Annotated[str, typer.Option("--budget-unit", help="`tokens`, or a currency, whose millionths are counted.")] = TOKENS,
    actor: Annotated[
        Path | None,
        typer.Option("--actor-token-file", exists=True, dir_okay=False, help="A token of whoever is to act; else the client."),
    ] = None,
    tenant: TenantOption = TENANT,
    json: JsonOption = False,
) -> None:
    """Print a narrower token, delegated from the one on standard input. It ends with that one.

    Example: soma token | soma token exchange --scope session:read --expires-in 60

    Exit codes: 0 printed, 1 the credentials are refused, 2 the token cannot be delegated so, 3 no gateway answers.
    """
    from workers.cli.gateway_client import open_gateway

    form = {"grant_type": _EXCHANGE, "subject_token": _given(), "subject_token_type": _ACCESS, "scope": scope}
    if seconds is not None:
        form["expires_in"] = str(seconds)
    if cap is not None:
        form |= {"budget_cap": str(cap), "budget_unit": unit}
    if actor is not None:
        form |= {"actor_token": actor.read_text().strip(), "actor_token_type": _ACCESS}
    with open_gateway(tenant, as_json=json) as gateway:
        granted = gateway.oauth("/v1/oauth/token", form)
    if json:
        show_json(granted)
    else:
        typer.echo(granted["access_token"])


@_tokens.command()
def revoke(tenant: TenantOption = TENANT, json: JsonOption = False) -> None:
    """End the token or API key on standard input, and all that was delegated from it, within a second.

    It must be the client's own, or delegated from one of its own. What is no token, or ended already, is left as it is.

    Example: soma token revoke < token.txt

    Exit codes: 0 it opens nothing, 1 the credentials are refused, 2 it is another client's, 3 no gateway answers.
    """
    from workers.cli.gateway_client import open_gateway

    with open_gateway(tenant, as_json=json) as gateway:
        done = gateway.oauth("/v1/oauth/revoke", {"token": _given()})
    if json:
        show_json(done)
    else:
        typer.echo("It is refused from now on.")


def _given() -> str:
    given = "" if sys.stdin.isatty() else sys.stdin.read().strip()
    if not given:
        raise InvalidRequest("No token came in; pipe one into this command, as in `soma token | soma token exchange`.")
    return given
