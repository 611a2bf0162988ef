"""`soma client`: programs that ask for tokens with a secret."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from workers.cli.environment import show_json
from workers.cli.options import TENANT, AfterOption, JsonOption, KeyOption, LimitOption, TenantOption

_clients = typer.Typer(help="Make, list, change and disable clients.", no_args_is_help=True, rich_markup_mode=None)
_PATH = "/v1/clients"

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="cli_…")]
ScopeOption = Annotated[str | None, typer.Option("--scope", help="Capabilities it is to have itself, separated by spaces.")]
RoleOption = Annotated[list[str] | None, typer.Option("--role", help="A role it is to have; may be repeated.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(_clients, name="client")


@_clients.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for, to tell it from others.")],
    scope: ScopeOption = None,
    role: RoleOption = None,
    key: KeyOption = None,
    tenant: TenantOption = TENANT,
    json: JsonOption = False,
) -> None:
    """Make a client and print ID:SECRET, this once: the secret is kept nowhere.

    Example: soma client create "billing service" --role viewer --scope slm:call:summarization

    Exit codes: 0 made, 1 refused or made by an earlier call with that --key, 2 called wrongly, 3 no gateway answers.
    """
    from workers.cli.gateway_client import new_key, open_gateway

    body = {"name": name, "scopes": (scope or "").split(), "roles": role or []}
    with open_gateway(tenant, as_json=json) as gateway:
        made = gateway.post(_PATH, body, key=key or new_key())
    _show_secret(made, json=json)


@_clients.command(name="list")
def list_(
    disabled: Annotated[bool | None, typer.Option("--disabled/--enabled", help="Only those.")] = None,
    limit: LimitOption = 50,
    after: AfterOption = None,
    tenant: TenantOption = TENANT,
    json: JsonOption = False,
) -> None:
    """List the tenant's clients. Example: soma client list --enabled"""
    from workers.cli.display import moment, show_table
    from workers.cli.gateway_client import open_gateway

    with open_gateway(tenant, as_json=json) as gateway:
        page = gateway.get(_PATH, limit=limit, after=after, disabled=disabled)
    if json:
        show_json(page)
        return
    rows = (
        (
            each["client_id"],
            each["name"],
            "disabled" if each["disabled"] else "enabled",
            " ".join(each["roles"]),
            " ".join(each["scopes"]),
            moment(each["created_at"]),
        )
        for each in page["clients"]
    )
    show_table(("id", "name", "state", "roles", "scopes", "created (UTC)"), rows, more=page["next"])


@_clients.command()
def change(
    client_id: IdArgument,
    name: Annotated[str | None, typer.Option("--name", help="Another name.")] = None,
    scope: ScopeOption = None,
    role: RoleOption = None,
    key: KeyOption = None,
    tenant: TenantOption = TENANT,
    json: JsonOption = False,
) -> None:
    """Change a client's name, its scopes or its roles; what is not named stays.

    Example: soma client change cli_… --role viewer --role approver
    """
    from workers.cli.gateway_client import at, new_key, open_gateway

    given = {"name": name, "scopes": None if scope is None else scope.split(), "roles": role or None}
    body = {member: value for member, value in given.items() if value is not None}
    with open_gateway(tenant, as_json=json) as gateway:
        version = gateway.get(at(_PATH, client_id))["version"]
        changed = gateway.edit("PATCH", at(_PATH, client_id), body, version=version, key=key or new_key())
    if json:
        show_json(changed)
    else:
        typer.echo(f"Changed {client_id}: {' '.join(changed['capabilities'])}")


@_clients.command()
def rotate(
    client_id: IdArgument,
    overlap: Annotated[int, typer.Option("--overlap", min=0, help="Seconds that the former secret still opens.")] = 0,
    key: KeyOption = None,
    tenant: TenantOption = TENANT,
    json: JsonOption = False,
) -> None:
    """Give a client another secret and print ID:SECRET, this once. Example: soma client rotate cli_… --overlap 3600"""
    from workers.cli.gateway_client import at, new_key, open_gateway

    with open_gateway(tenant, as_json=json) as gateway:
        rotated = gateway.post(at(_PATH, client_id, "secret"), {"overlap_seconds": overlap}, key=key or new_key())
    _show_secret(rotated, json=json)


@_clients.command()
def disable(client_id: IdArgument, tenant: TenantOption = TENANT) -> None:
    """End a client for good, with its tokens and API keys, within a second. Example: soma client disable cli_…"""
    from workers.cli.gateway_client import at, open_gateway

    with open_gateway(tenant) as gateway:
        gateway.delete(at(_PATH, client_id))
    typer.echo(f"Disabled {client_id}.")


def _show_secret(answer: dict[str, Any], *, json: bool) -> None:
    client_id, secret = answer["client"]["client_id"], answer["client_secret"]
    if json:
        show_json(answer)
    elif secret is not None:
        typer.echo(f"{client_id}:{secret}")
    typer.echo(f"{client_id}: {answer['note']}", err=True)
    if secret is None:
        raise typer.Exit(1)
