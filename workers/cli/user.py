"""`soma user`: the people of a tenant."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from workers.cli.environment import show_json
from workers.cli.options import TENANT, AfterOption, JsonOption, KeyOption, LimitOption, TenantOption

_users = typer.Typer(help="Make, invite, list and delete users.", no_args_is_help=True, rich_markup_mode=None)
_UserId = Annotated[str, typer.Argument(metavar="ID", help="usr_…")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(_users, name="user")


@_users.command()
def create(
    name: Annotated[str, typer.Argument(help="What they log in with.")],
    role: Annotated[list[str] | None, typer.Option("--role", help="A role; may be said several times.")] = None,
    display_name: Annotated[str | None, typer.Option("--display-name", help="How they are called; the name without it.")] = None,
    email: Annotated[str | None, typer.Option("--email", help="Their address.")] = None,
    key: KeyOption = None,
    tenant: TenantOption = TENANT,
    json: JsonOption = False,
) -> None:
    """Make a user and print the invitation, this once. Example: soma user create ada --role member

    Exit codes: 0 made, 1 refused or made by an earlier call with that --key, 2 called wrongly, 3 no gateway answers.
    """
    from workers.cli.gateway_client import new_key, open_gateway

    body = {"name": name, "display_name": display_name or name, "email": email, "roles": role or ["member"]}
    with open_gateway(tenant, as_json=json) as gateway:
        _show_invitation(gateway.post("/v1/users", body, key=key or new_key()), as_json=json)


@_users.command()
def invite(user_id: _UserId, key: KeyOption = None, tenant: TenantOption = TENANT, json: JsonOption = False) -> None:
    """Invite a user anew, who lost the password or the phone. Example: soma user invite usr_…"""
    from workers.cli.gateway_client import at, new_key, open_gateway

    with open_gateway(tenant, as_json=json) as gateway:
        _show_invitation(gateway.post(at("/v1/users", user_id, "invite"), {}, key=key or new_key()), as_json=json)


@_users.command(name="list")
def list_(limit: LimitOption = 50, after: AfterOption = None, tenant: TenantOption = TENANT, json: JsonOption = False) -> None:
    """List the tenant's users, newest first. Example: soma user list --limit 10"""
    from workers.cli.display import moment, show_table
    from workers.cli.gateway_client import open_gateway

    with open_gateway(tenant, as_json=json) as gateway:
        page = gateway.get("/v1/users", limit=limit, after=after)
    if json:
        show_json(page)
        return
    rows = (
        (each["user_id"], each["name"], each["status"], " ".join(each["roles"]), moment(each["last_login_at"]))
        for each in page["users"]
    )
    show_table(("id", "name", "status", "roles", "last log-in (UTC)"), rows, more=page["next"])


@_users.command()
def delete(user_id: _UserId, tenant: TenantOption = TENANT) -> None:
    """End a user for good, within a second. Example: soma user delete usr_…"""
    from workers.cli.gateway_client import at, open_gateway

    with open_gateway(tenant) as gateway:
        gateway.delete(at("/v1/users", user_id))
    typer.echo(f"Deleted {user_id}.")


def _show_invitation(made: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(made)
    elif made["invitation"] is not None:
        typer.echo(made["invitation"])
    typer.echo(f"{made['user']['user_id']}: {made['note']} It is taken at {made['activation_url']}.", err=True)
    if made["invitation"] is None:
        raise typer.Exit(1)
