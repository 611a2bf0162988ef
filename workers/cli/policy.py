"""`soma policy`: the tenant's own policies, in versions of which one may be in force."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from workers.cli.environment import show_json
from workers.cli.options import TENANT, AfterOption, JsonOption, KeyOption, LimitOption, TenantOption
from workers.cli.policy_questions import cedar_text, evaluate, replay

_policies = typer.Typer(help="Make, activate, ask and replay policies.", no_args_is_help=True, rich_markup_mode=None)

_Id = Annotated[str, typer.Argument(metavar="ID", help="pol_…")]
_Files = Annotated[
    Path, typer.Argument(metavar="FILE_OR_DIR", exists=True, readable=True, help="Cedar text; *.cedar of a folder.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    _policies.command()(evaluate)
    _policies.command()(replay)
    app.add_typer(_policies, name="policy")


@_policies.command()
def create(
    file: _Files,
    name: Annotated[str, typer.Option("--name", help="What it is called.")],
    key: KeyOption = None,
    tenant: TenantOption = TENANT,
    json: JsonOption = False,
) -> None:
    """Keep policies as the tenant's next version. They decide nothing until they are activated.

    Example: soma policy create policies.cedar --name "No documents abroad"
    """
    from workers.cli.gateway_client import new_key, open_gateway

    with open_gateway(tenant, as_json=json) as gateway:
        made = gateway.post("/v1/policy-sets", {"name": name, "text": cedar_text(file)}, key=key or new_key())
    if json:
        show_json(made)
    else:
        typer.echo(f"{made['policy_set_id']}: version {made['version']}, {made['policies']} policies, not in force.")


@_policies.command(name="list")
def list_(limit: LimitOption = 50, after: AfterOption = None, tenant: TenantOption = TENANT, json: JsonOption = False) -> None:
    """List the tenant's versions, newest first. Example: soma policy list --limit 10"""
    from workers.cli.display import moment, show_table
    from workers.cli.gateway_client import open_gateway

    with open_gateway(tenant, as_json=json) as gateway:
        page = gateway.get("/v1/policy-sets", limit=limit, after=after)
    if json:
        show_json(page)
        return
    rows = (
        (
            each["policy_set_id"],
            each["version"],
            "in force" if each["active"] else "",
            each["policies"],
            each["created_by"],
            moment(each["created_at"]),
            each["name"],
        )
        for each in page["policy_sets"]
    )
    show_table(("id", "version", "", "policies", "by", "at (UTC)", "name"), rows, more=page["next"])


@_policies.command()
def show(policy_set_id: _Id, tenant: TenantOption = TENANT, json: JsonOption = False) -> None:
    """Print a version's Cedar text. Example: soma policy show pol_…"""
    from workers.cli.display import visible
    from workers.cli.gateway_client import at, open_gateway

    with open_gateway(tenant, as_json=json) as gateway:
        found = gateway.get(at("/v1/policy-sets", policy_set_id))
    if json:
        show_json(found)
    else:
        typer.echo(visible(found["text"]))


@_policies.command()
def activate(
    policy_set_id: _Id,
    expected: Annotated[int, typer.Option("--expected", min=0, help="The version in force now; 0 for none.")],
    key: KeyOption = None,
    tenant: TenantOption = TENANT,
    json: JsonOption = False,
) -> None:
    """Put a version in force, beside the constitution, within a second. Where another than the expected one is, nothing changes.

    Example: soma policy activate pol_… --expected 3
    """
    _switch(policy_set_id, "activate", {"expected_version": expected}, key, tenant, as_json=json)


@_policies.command()
def deactivate(policy_set_id: _Id, key: KeyOption = None, tenant: TenantOption = TENANT, json: JsonOption = False) -> None:
    """Put a version out of force: the constitution decides alone. Example: soma policy deactivate pol_…"""
    _switch(policy_set_id, "deactivate", None, key, tenant, as_json=json)


def _switch(policy_set_id: str, verb: str, body: dict[str, Any] | None, key: str | None, tenant: str, *, as_json: bool) -> None:
    from workers.cli.gateway_client import at, new_key, open_gateway

    with open_gateway(tenant, as_json=as_json) as gateway:
        found = gateway.post(at("/v1/policy-sets", policy_set_id, verb), body, key=key or new_key())
    if as_json:
        show_json(found)
    else:
        typer.echo(f"{found['policy_set_id']}: version {found['version']} is {'' if found['active'] else 'not '}in force.")
