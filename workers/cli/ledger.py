"""`soma ledger`: model calls nobody knows the end of, put right from the vendor's usage report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from workers.cli.environment import show_json
from workers.cli.options import TENANT, JsonOption, KeyOption, TenantOption

_ledger = typer.Typer(help="Reconcile the ledger with a vendor's report.", no_args_is_help=True, rich_markup_mode=None)
_WHY = {
    "no_attempt": "no attempt has this key",
    "repeated": "listed more often than it was attempted",
    "differs": "was settled at other figures, which stand",
    "running": "has not ended yet",
}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(_ledger, name="ledger")


@_ledger.callback()
def group() -> None:
    """Keeps `reconcile` a command of its own, though it is the only one."""


@_ledger.command()
def reconcile(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="CSV with a header, or JSON lines.")],
    provider: Annotated[str, typer.Option("--provider", help="Its name in the models file.")],
    since: Annotated[str | None, typer.Option("--since", help="What the report covers, from then on.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="What the report covers, before then.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Change the ledger; without it nothing is changed, only told.")] = False,
    key: KeyOption = None,
    tenant: TenantOption = TENANT,
    json: JsonOption = False,
) -> None:
    """Settle calls of unknown outcome at what the vendor billed, and list the lines that no call explains.

    The report's columns or members are idempotency_key, input_tokens, output_tokens and, if it has them, micros (millionths of
    the currency). With --since and --until, unknown calls of that time that the report does not list are released.

    Example: soma ledger reconcile usage.csv --provider openai --since 2026-01-01 --until 2026-02-01 --apply

    Exit codes: 0 every line is explained, 1 some are not or refused, 2 called wrongly, 3 no gateway answers.
    """
    from workers.cli.gateway_client import new_key, open_gateway
    from workers.cli.times import as_instant
    from workers.cli.vendor_report import read_report

    body = {
        "provider": provider,
        "lines": [line.model_dump() for line in read_report(file)],
        "since": as_instant(since),
        "until": as_instant(until),
        "dry_run": not apply,
    }
    with open_gateway(tenant, as_json=json) as gateway:
        found = gateway.post("/v1/ledger/reconciliations", body, key=key or new_key(), wait=30)
    if json:
        show_json(found)
    else:
        _show(found)
    if found["unmatched"]:
        raise typer.Exit(1)


def _show(found: dict[str, Any]) -> None:
    from workers.cli.display import show_table

    done = "would be" if found["dry_run"] else "were"
    typer.echo(f"{found['lines']} lines: {found['settled']} calls {done} settled, {found['absent']} {done} released.")
    if found["unexplained"]:
        rows = ((each["idempotency_key"], each["tokens"], _WHY[each["why"]]) for each in found["unexplained"])
        show_table(("unexplained", "tokens", "why"), rows)
    if found["unmatched"] > len(found["unexplained"]):
        typer.echo(f"{found['unmatched'] - len(found['unexplained'])} more lines are unexplained.")
    if found["dry_run"]:
        typer.echo("Nothing was changed; --apply changes it.")
