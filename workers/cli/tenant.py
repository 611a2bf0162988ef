"""`soma tenant`: the platform's own tenant makes, bounds and ends the others."""

from __future__ import annotations

from typing import Annotated

import typer

from domain.names import SYSTEM_TENANT
from workers.cli.environment import show_json
from workers.cli.options import AfterOption, JsonOption, KeyOption, LimitOption

_tenants = typer.Typer(
    help="Make, list, change and delete tenants, once `soma bootstrap --tenant system` has made the platform's client.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
_PATH = "/v1/tenants"

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Lower-case letters, digits and hyphens.")]
PlanOption = Annotated[str | None, typer.Option("--plan", help="What the tenant has agreed to, by name.")]
RateOption = Annotated[
    int | None, typer.Option("--requests-per-minute", min=0, help="For all its clients together; 0 for no limit.")
]
RegionOption = Annotated[list[str] | None, typer.Option("--region", help="A region that may serve it; may be repeated.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(_tenants, name="tenant")


@_tenants.command()
def create(
    tenant_id: IdArgument,
    name: Annotated[str | None, typer.Option("--name", help="As people call it; the id without it.")] = None,
    plan: PlanOption = None,
    requests_per_minute: RateOption = None,
    region: RegionOption = None,
    key: KeyOption = None,
    json: JsonOption = False,
) -> None:
    """Make a tenant with a first client, an admin, and print ID:SECRET of that client, this once.

    Example: soma tenant create acme --name "Acme Ltd" --requests-per-minute 6000 --region eu-central

    Exit codes: 0 made, 1 refused or made by an earlier call with that --key, 2 called wrongly, 3 no gateway answers.
    """
    from workers.cli.gateway_client import new_key, open_gateway

    body = {"tenant_id": tenant_id, "name": name or tenant_id} | _given(plan, requests_per_minute, region)
    with open_gateway(SYSTEM_TENANT, as_json=json) as gateway:
        made = gateway.post(_PATH, body, key=key or new_key())
    if json:
        show_json(made)
    elif made["client_secret"] is not None:
        typer.echo(f"{made['client_id']}:{made['client_secret']}")
    typer.echo(f"{tenant_id}: {made['note']}", err=True)
    if made["client_secret"] is None:
        raise typer.Exit(1)


@_tenants.command(name="list")
def list_(
    deleted: Annotated[bool | None, typer.Option("--deleted/--current", help="Only those.")] = None,
    limit: LimitOption = 50,
    after: AfterOption = None,
    json: JsonOption = False,
) -> None:
    """List every tenant, by id. Example: soma tenant list --current"""
    from workers.cli.display import moment, show_table
    from workers.cli.gateway_client import open_gateway

    with open_gateway(SYSTEM_TENANT, as_json=json) as gateway:
        page = gateway.get(_PATH, limit=limit, after=after, deleted=deleted)
    if json:
        show_json(page)
        return
    rows = (
        (
            each["tenant_id"],
            each["name"],
            each["plan"],
            each["limits"]["requests_per_minute"] or "",
            " ".join(each["residency"]),
            moment(each["created_at"]),
            moment(each["deleted_at"]),
        )
        for each in page["tenants"]
    )
    columns = ("id", "name", "plan", "requests/min", "regions", "created (UTC)", "deleted (UTC)")
    show_table(columns, rows, more=page["next"])


@_tenants.command()
def change(
    tenant_id: IdArgument,
    name: Annotated[str | None, typer.Option("--name", help="Another name.")] = None,
    plan: PlanOption = None,
    requests_per_minute: RateOption = None,
    region: RegionOption = None,
    anywhere: Annotated[bool, typer.Option("--anywhere", help="Let every region serve it.")] = False,
    key: KeyOption = None,
    json: JsonOption = False,
) -> None:
    """Change a tenant's name, plan, limit or regions; what is not named stays. Example: soma tenant change acme --plan trial"""
    from workers.cli.gateway_client import at, new_key, open_gateway

    body = ({} if name is None else {"name": name}) | _given(plan, requests_per_minute, [] if anywhere else region)
    with open_gateway(SYSTEM_TENANT, as_json=json) as gateway:
        version = gateway.get(at(_PATH, tenant_id))["version"]
        changed = gateway.edit("PATCH", at(_PATH, tenant_id), body, version=version, key=key or new_key())
    if json:
        show_json(changed)
    else:
        typer.echo(f"Changed {tenant_id}.")


@_tenants.command()
def delete(tenant_id: IdArgument) -> None:
    """End a tenant for good, with its tokens, keys and runs, within a second. Example: soma tenant delete acme"""
    from workers.cli.gateway_client import at, open_gateway

    with open_gateway(SYSTEM_TENANT) as gateway:
        gateway.delete(at(_PATH, tenant_id))
    typer.echo(f"Deleted {tenant_id}.")


def _given(plan: str | None, requests_per_minute: int | None, regions: list[str] | None) -> dict[str, object]:
    """The members that were named on the command line."""
    limits = None if requests_per_minute is None else {"requests_per_minute": requests_per_minute or None}
    given = {"plan": plan, "limits": limits, "residency": regions}
    return {member: value for member, value in given.items() if value is not None}
