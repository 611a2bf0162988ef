"""`soma role`: named sets of capabilities."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from workers.cli.environment import show_json
from workers.cli.options import TENANT, AfterOption, JsonOption, KeyOption, LimitOption, TenantOption

_roles = typer.Typer(help="Make, list, replace and delete roles.", no_args_is_help=True, rich_markup_mode=None)
_PATH = "/v1/roles"

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Lower-case letters, digits and hyphens.")]
CapabilitiesArgument = Annotated[
    list[str], typer.Argument(metavar="CAPABILITY...", help="Scopes, each as it is or narrowed: session:read:ses_…")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(_roles, name="role")


@_roles.command()
def create(
    name: NameArgument,
    capabilities: CapabilitiesArgument,
    key: KeyOption = None,
    tenant: TenantOption = TENANT,
    json: JsonOption = False,
) -> None:
    """Make a role that opens these capabilities, all of which you hold.

    Example: soma role create document-clerk document:read document:write

    Exit codes: 0 made, 1 refused, 2 called wrongly, 3 no gateway answers.
    """
    from workers.cli.gateway_client import new_key, open_gateway

    with open_gateway(tenant, as_json=json) as gateway:
        made = gateway.post(_PATH, {"name": name, "capabilities": capabilities}, key=key or new_key())
    _told(made, json=json, said=f"Made the role {name}.")


@_roles.command(name="list")
def list_(limit: LimitOption = 50, after: AfterOption = None, tenant: TenantOption = TENANT, json: JsonOption = False) -> None:
    """List the roles by name, those that are built in among them. Example: soma role list"""
    from workers.cli.display import show_table
    from workers.cli.gateway_client import open_gateway

    with open_gateway(tenant, as_json=json) as gateway:
        page = gateway.get(_PATH, limit=limit, after=after)
    if json:
        show_json(page)
        return
    rows = ((each["name"], "built in" if each["built_in"] else "own", " ".join(each["capabilities"])) for each in page["roles"])
    show_table(("name", "kind", "capabilities"), rows, more=page["next"])


@_roles.command()
def replace(
    name: NameArgument,
    capabilities: CapabilitiesArgument,
    key: KeyOption = None,
    tenant: TenantOption = TENANT,
    json: JsonOption = False,
) -> None:
    """Let a role open these capabilities alone, for everybody who has it. Example: soma role replace clerk document:read"""
    from workers.cli.gateway_client import at, new_key, open_gateway

    with open_gateway(tenant, as_json=json) as gateway:
        version = gateway.get(at(_PATH, name))["version"]
        body = {"capabilities": capabilities}
        replaced = gateway.edit("PUT", at(_PATH, name), body, version=version, key=key or new_key())
    _told(replaced, json=json, said=f"Replaced the role {name}.")


@_roles.command()
def delete(name: NameArgument, tenant: TenantOption = TENANT) -> None:
    """Delete a role that nobody has. Example: soma role delete document-clerk"""
    from workers.cli.gateway_client import at, open_gateway

    with open_gateway(tenant) as gateway:
        gateway.delete(at(_PATH, name))
    typer.echo(f"Deleted the role {name}.")


def _told(role: dict[str, Any], *, json: bool, said: str) -> None:
    if json:
        show_json(role)
    else:
        typer.echo(said)
