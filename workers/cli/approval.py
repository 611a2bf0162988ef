"""`soma approval`: what two people must approve."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from workers.cli.environment import show_json
from workers.cli.options import TENANT, AfterOption, JsonOption, KeyOption, LimitOption, TenantOption

_approvals = typer.Typer(help="Approve the riskiest acts, as one of two people.", no_args_is_help=True, rich_markup_mode=None)
_Id = Annotated[str, typer.Argument(help="The request, apr_….")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(_approvals, name="approval")


@_approvals.command(name="list")
def list_(limit: LimitOption = 50, after: AfterOption = None, tenant: TenantOption = TENANT, json: JsonOption = False) -> None:
    """List requests for two people's approval, newest first. Example: soma approval list --limit 10"""
    from workers.cli.display import moment, show_table
    from workers.cli.gateway_client import open_gateway

    with open_gateway(tenant, as_json=json) as gateway:
        page = gateway.get("/v1/approvals", limit=limit, after=after)
    if json:
        show_json(page)
        return
    rows = (
        (
            each["approval_id"],
            each["state"],
            each["action"],
            each["resource"],
            ", ".join(approval["user_id"] for approval in each["approvals"]),
            moment(each["expires_at"]),
        )
        for each in page["approvals"]
    )
    show_table(("id", "state", "action", "resource", "approved by", "expires (UTC)"), rows, more=page["next"])


@_approvals.command()
def approve(
    approval_id: _Id,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    key: KeyOption = None,
    tenant: TenantOption = TENANT,
    json: JsonOption = False,
) -> None:
    """Approve exactly what the request says. You must be logged in as a person, with two factors: `soma login`.

    Example: soma approval approve apr_…

    Exit codes: 0 approved, 1 refused, 2 called wrongly, 3 no gateway answers.
    """
    from workers.cli.gateway_client import at, new_key, open_gateway

    with open_gateway(tenant, as_json=json) as gateway:
        asked = gateway.get(at("/v1/approvals", approval_id))
        if not yes:
            typer.confirm(f"Approve {asked['action']} of {asked['resource']}, digest {asked['digest']}?", abort=True)
        body = {"digest": asked["digest"]}
        done = gateway.post(at("/v1/approvals", approval_id, "approve"), body, key=key or new_key())
    _tell(done, as_json=json)


@_approvals.command()
def withdraw(approval_id: _Id, key: KeyOption = None, tenant: TenantOption = TENANT, json: JsonOption = False) -> None:
    """End a request that was not used yet. Example: soma approval withdraw apr_…"""
    from workers.cli.gateway_client import at, new_key, open_gateway

    with open_gateway(tenant, as_json=json) as gateway:
        done = gateway.post(at("/v1/approvals", approval_id, "withdraw"), key=key or new_key())
    _tell(done, as_json=json)


def _tell(request: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(request)
    else:
        typer.echo(f"{request['approval_id']}: {request['state']}, approved by {len(request['approvals'])} of 2.")
