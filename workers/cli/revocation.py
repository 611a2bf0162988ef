"""`soma revocation`: tokens that are refused before they expire."""

from __future__ import annotations

from typing import Annotated

import typer

from workers.cli.environment import show_json
from workers.cli.options import TENANT, AfterOption, JsonOption, KeyOption, LimitOption, TenantOption

_revocations = typer.Typer(help="Revoke tokens, and list what was revoked.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(_revocations, name="revocation")


@_revocations.command()
def create(
    jti: Annotated[str | None, typer.Option("--jti", help="One token, by the jti in it.")] = None,
    client: Annotated[str | None, typer.Option("--client", help="Every token and API key of a client.")] = None,
    subject: Annotated[str | None, typer.Option("--subject", help="Every token of a subject.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every token and API key of the tenant.")] = False,
    reason: Annotated[str | None, typer.Option("--reason", help="Kept with it, for whoever asks later.")] = None,
    key: KeyOption = None,
    tenant: TenantOption = TENANT,
    json: JsonOption = False,
) -> None:
    """Refuse the tokens that were issued until now, within a second. Who still stands may get a new one.

    Example: soma revocation create --client cli_… --reason "The laptop was stolen."

    Exit codes: 0 revoked, 1 refused, 2 called wrongly, 3 no gateway answers.
    """
    from workers.cli.gateway_client import new_key, open_gateway

    named = [(kind, value) for kind, value in (("jti", jti), ("client", client), ("subject", subject)) if value is not None]
    if len(named) + everything != 1:
        raise typer.BadParameter("Say which tokens: one of --jti, --client, --subject and --all.")
    kind, value = named[0] if named else ("all", None)
    with open_gateway(tenant, as_json=json) as gateway:
        made = gateway.post("/v1/revocations", {"kind": kind, "value": value, "reason": reason}, key=key or new_key())
    if json:
        show_json(made)
    else:
        typer.echo(f"{made['revocation_id']}: tokens issued until {made['before']} are refused.")


@_revocations.command(name="list")
def list_(limit: LimitOption = 50, after: AfterOption = None, tenant: TenantOption = TENANT, json: JsonOption = False) -> None:
    """List the tenant's revocations, newest first. Example: soma revocation list --limit 10"""
    from workers.cli.display import moment, show_table
    from workers.cli.gateway_client import open_gateway

    with open_gateway(tenant, as_json=json) as gateway:
        page = gateway.get("/v1/revocations", limit=limit, after=after)
    if json:
        show_json(page)
        return
    rows = (
        (
            each["revocation_id"],
            each["kind"],
            each["value"] or "",
            moment(each["before"]),
            each["revoked_by"],
            each["reason"] or "",
        )
        for each in page["revocations"]
    )
    show_table(("id", "kind", "value", "issued until (UTC)", "by", "reason"), rows, more=page["next"])
