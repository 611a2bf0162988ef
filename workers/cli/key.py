"""`soma key`: API keys, for programs that cannot fetch tokens."""

from __future__ import annotations

from typing import Annotated

import typer

from workers.cli.environment import show_json
from workers.cli.options import TENANT, AfterOption, JsonOption, KeyOption, LimitOption, TenantOption

_keys = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True, rich_markup_mode=None)
_DAY_SECONDS = 86_400


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(_keys, name="key")


@_keys.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for, to tell it from others.")],
    scope: Annotated[str, typer.Option("--scope", help="Scopes the key is to have, separated by spaces.")] = "slm:call slm:read",
    days: Annotated[int | None, typer.Option("--days", min=1, max=3650, help="Expires after so many; never without it.")] = None,
    key: KeyOption = None,
    tenant: TenantOption = TENANT,
    json: JsonOption = False,
) -> None:
    """Make an API key and print it, this once: it is kept nowhere.

    Example: export OPENAI_API_KEY=$(soma key create laptop --days 30)

    Exit codes: 0 made, 1 refused or made by an earlier call with that --key, 2 called wrongly, 3 no gateway answers.
    """
    from workers.cli.gateway_client import new_key, open_gateway

    body = {"name": name, "scopes": scope.split(), "expires_in_seconds": None if days is None else days * _DAY_SECONDS}
    with open_gateway(tenant, as_json=json) as gateway:
        made = gateway.post("/v1/api-keys", body, key=key or new_key())
    if json:
        show_json(made)
    elif made["key"] is not None:
        typer.echo(made["key"])
    typer.echo(f"{made['api_key']['key_id']}: {made['note']}", err=True)
    if made["key"] is None:
        raise typer.Exit(1)


@_keys.command(name="list")
def list_(limit: LimitOption = 50, after: AfterOption = None, tenant: TenantOption = TENANT, json: JsonOption = False) -> None:
    """List the tenant's API keys, newest first, ended ones too. Example: soma key list --limit 10"""
    from workers.cli.display import moment, show_table
    from workers.cli.gateway_client import open_gateway

    with open_gateway(tenant, as_json=json) as gateway:
        page = gateway.get("/v1/api-keys", limit=limit, after=after)
    if json:
        show_json(page)
        return
    rows = (
        (
            each["key_id"],
            each["name"],
            each["status"],
            each["hint"],
            " ".join(each["scopes"]),
            moment(each["expires_at"]),
            moment(each["last_used_at"]),
        )
        for each in page["api_keys"]
    )
    show_table(("id", "name", "status", "key", "scopes", "expires (UTC)", "last used (UTC)"), rows, more=page["next"])


@_keys.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="key_…")],
    tenant: TenantOption = TENANT,
    json: JsonOption = False,
) -> None:
    """End an API key for good, within a second. Saying it again is harmless. Example: soma key revoke key_…"""
    from workers.cli.gateway_client import at, open_gateway

    with open_gateway(tenant, as_json=json) as gateway:
        revoked = gateway.post(at("/v1/api-keys", key_id, "revoke"))
    if json:
        show_json(revoked)
    else:
        typer.echo(f"Revoked {key_id}.")
