"""`soma kill-switch`: stop at once, watch until everything is quiet, check the signed statement."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from workers.cli.environment import complain, show_json
from workers.cli.options import TENANT, AfterOption, JsonOption, KeyOption, LimitOption, TenantOption

_switches = typer.Typer(help="Stop work at once, and prove that it is quiet.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(_switches, name="kill-switch")


@_switches.command()
def engage(
    scope: Annotated[str, typer.Argument(help="all, region, tenant, user, capsule, provider, tool or feature.")],
    reason: Annotated[str, typer.Option("--reason", help="Kept with it, and shown to whoever is stopped.")],
    value: Annotated[str | None, typer.Argument(help="What the scope means; none for all and tenant.")] = None,
    for_tenant: Annotated[str | None, typer.Option("--for", help="The tenant that is meant (platform operators).")] = None,
    expires_in: Annotated[int | None, typer.Option("--expires-in", help="Seconds until it ends by itself.", min=1)] = None,
    wait: Annotated[int, typer.Option("--wait", help="Seconds to wait until everything is quiet.", min=0)] = 0,
    key: KeyOption = None,
    tenant: TenantOption = TENANT,
    json: JsonOption = False,
) -> None:
    """Stop what the scope means: no effect begins more than a second later, and its runs are ended.

    Example: soma kill-switch engage tenant --reason "It mails customers on its own." --wait 60

    Exit codes: 0 engaged (and quiet, with --wait), 1 refused or not quiet in time, 2 called wrongly, 3 no gateway answers.
    """
    from workers.cli.gateway_client import new_key, open_gateway

    body = {"scope": scope, "value": value, "tenant_id": for_tenant, "reason": reason, "expires_in_seconds": expires_in}
    with open_gateway(tenant, as_json=json) as gateway:
        made = gateway.post("/v1/kill-switches", body, key=key or new_key())
        if not json:
            typer.echo(f"{made['switch_id']}: {_what(made)} is stopped since {made['engaged_at']}.")
        if wait:
            made = _until_quiet(gateway, made["switch_id"], wait, quiet=json)
        if json:
            show_json(made)
    if wait and made["stated_at"] is None:
        complain(f"Not quiet after {wait} seconds: {made['runs_open']} runs are open; look again with `soma kill-switch show`.")
        raise typer.Exit(1)


@_switches.command(name="list")
def list_(limit: LimitOption = 50, after: AfterOption = None, tenant: TenantOption = TENANT, json: JsonOption = False) -> None:
    """List kill switches, newest first. Example: soma kill-switch list --limit 10"""
    from workers.cli.display import moment, show_table
    from workers.cli.gateway_client import open_gateway

    with open_gateway(tenant, as_json=json) as gateway:
        page = gateway.get("/v1/kill-switches", limit=limit, after=after)
    if json:
        show_json(page)
        return
    rows = (
        (
            each["switch_id"],
            each["state"],
            _what(each),
            moment(each["engaged_at"]),
            each["engaged_by"],
            "yes" if each["stated_at"] else f"{each['runs_open']} runs open",
            each["reason"],
        )
        for each in page["kill_switches"]
    )
    show_table(("id", "state", "stops", "since (UTC)", "by", "quiet", "reason"), rows, more=page["next"])


@_switches.command()
def show(
    switch_id: Annotated[str, typer.Argument(help="The switch, ksw_….")], tenant: TenantOption = TENANT, json: JsonOption = False
) -> None:
    """Show a kill switch and how far it has come. Example: soma kill-switch show ksw_…"""
    from workers.cli.gateway_client import open_gateway

    with open_gateway(tenant, as_json=json) as gateway:
        found = gateway.get(f"/v1/kill-switches/{switch_id}")
    if json:
        show_json(found)
        return
    typer.echo(f"{found['switch_id']}: {_what(found)}, {found['state']} since {found['engaged_at']} by {found['engaged_by']}")
    typer.echo(f"  reason: {found['reason']}")
    typer.echo(f"  runs ended: {found['runs_found'] - found['runs_open']} of {found['runs_found']}")
    typer.echo(f"  quiet since: {found['stated_at'] or 'not yet'}")


@_switches.command()
def statement(
    switch_id: Annotated[str, typer.Argument(help="The switch, ksw_….")],
    wait: Annotated[int, typer.Option("--wait", help="Seconds to wait until everything is quiet.", min=0)] = 0,
    tenant: TenantOption = TENANT,
) -> None:
    """Print the signed statement as JSON, once everything is quiet. Example: soma kill-switch statement ksw_… > statement.json"""
    from workers.cli.gateway_client import open_gateway

    with open_gateway(tenant, as_json=True) as gateway:
        if wait:
            _until_quiet(gateway, switch_id, wait, quiet=True)
        show_json(gateway.get(f"/v1/kill-switches/{switch_id}/statement"))


@_switches.command()
def release(
    switch_id: Annotated[str, typer.Argument(help="The switch, ksw_….")],
    propose: Annotated[bool, typer.Option("--propose", help="Ask two people to approve it, instead.")] = False,
    key: KeyOption = None,
    tenant: TenantOption = TENANT,
    json: JsonOption = False,
) -> None:
    """End a kill switch, once two people have approved that; with --propose, ask them to.

    Example: soma kill-switch release ksw_… --propose

    Exit codes: 0 released (or proposed), 1 refused, 2 called wrongly, 3 no gateway answers.
    """
    from workers.cli.gateway_client import at, new_key, open_gateway

    with open_gateway(tenant, as_json=json) as gateway:
        if not propose:
            done = gateway.post(at("/v1/kill-switches", switch_id, "release"))
            said = f"{switch_id} is released; {_what(done)} may begin again."
        else:
            digest = gateway.get(at("/v1/kill-switches", switch_id))["release_digest"]
            body = {"action": "killswitch.release", "resource": switch_id, "digest": digest}
            done = gateway.post("/v1/approvals", body, key=key or new_key())
            said = f"{done['approval_id']}: two people now `soma login`, then `soma approval approve {done['approval_id']}`."
    if json:
        show_json(done)
    else:
        typer.echo(said)


@_switches.command()
def verify(
    file: Annotated[Path, typer.Argument(help="A file with the statement.", exists=True, dir_okay=False)],
    keys: Annotated[Path | None, typer.Option("--keys", help="Trusted keys; else STATEMENT_TRUSTED_KEYS_FILE.")] = None,
    json: JsonOption = False,
) -> None:
    """Check a statement's signature, without any server, and say what it states.

    Example: soma kill-switch verify statement.json --keys statement-trusted.json

    Exit codes: 0 it holds, 1 it does not, 2 no keys are known.
    """
    import pydantic_core

    from adapters.signing import read_trusted_keys
    from adapters.statements import verify_statement
    from domain.errors import DomainError
    from runtime.settings import settings

    path = keys or settings().statement_trusted_keys_file
    if path is None:
        complain("No keys are known; name them with --keys, or set STATEMENT_TRUSTED_KEYS_FILE.")
        raise typer.Exit(2)
    try:
        stated = verify_statement(pydantic_core.from_json(file.read_bytes()), read_trusted_keys(path))
    except (DomainError, ValueError) as error:
        complain(error.detail if isinstance(error, DomainError) else f"{file} is no JSON.")
        raise typer.Exit(1) from None
    if json:
        show_json(stated.model_dump(mode="json"))
        return
    typer.echo(f"The signature holds. {stated.switch_id}: {_what(stated.model_dump())}, engaged {stated.engaged_at.isoformat()}")
    unrecorded = f", {stated.effects_unrecorded} not recorded: at most {stated.lease_ms} ms" if stated.effects_unrecorded else ""
    typer.echo(f"  silence {stated.silence_ms} ms{unrecorded}; stillness {stated.stillness_ms} ms")
    typer.echo(f"  runs ended: {stated.runs_found}; effects in flight: {stated.effects_found}, {stated.effects_unknown} unknown")


def _until_quiet(gateway: Any, switch_id: str, seconds: int, *, quiet: bool) -> dict[str, Any]:
    """The switch once it is stated, or as it stands after that time."""
    import time

    deadline = time.monotonic() + seconds
    while True:
        found: dict[str, Any] = gateway.get(f"/v1/kill-switches/{switch_id}")
        if found["stated_at"] is not None:
            if not quiet:
                typer.echo(f"Quiet: {found['runs_found']} runs were ended. The proof: soma kill-switch statement {switch_id}")
            return found
        if time.monotonic() > deadline:
            return found
        time.sleep(0.5)


def _what(switch: dict[str, Any]) -> str:
    """`provider openai of tenant demo`."""
    named = f"{switch['scope']} {switch['value']}" if switch["value"] else str(switch["scope"])
    return f"{named} of tenant {switch['target_tenant']}" if switch["target_tenant"] else f"{named} of every tenant"
