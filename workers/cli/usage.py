"""`soma usage`: what model calls used and cost."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

import typer

from domain.names import UsageBy
from workers.cli.environment import show_json
from workers.cli.options import TENANT, JsonOption, TenantOption


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(usage)


def usage(
    by: Annotated[list[UsageBy] | None, typer.Option("--by", help="What sums are told apart by; repeatable.")] = None,
    since: Annotated[str | None, typer.Option("--since", help="From then on; 30 days back without it.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Before then; now without it.")] = None,
    tenant: TenantOption = TENANT,
    json: JsonOption = False,
) -> None:
    """Show what the tenant's model calls used and cost.

    Example: soma usage --by day --by model --since 2026-01-01

    Exit codes: 0 shown, 1 refused, 2 called wrongly, 3 no gateway answers.
    """
    from workers.cli.budget import written
    from workers.cli.display import moment, show_table
    from workers.cli.gateway_client import open_gateway
    from workers.cli.times import as_instant

    groups = [each.value for each in by or [UsageBy.DAY, UsageBy.MODEL]]
    named = [("by", each) for each in groups]
    named += [(name, moment) for name, moment in (("since", as_instant(since)), ("until", as_instant(until))) if moment]
    with open_gateway(tenant, as_json=json) as gateway:
        found = gateway.get(f"/v1/usage?{urlencode(named)}")
    if json:
        show_json(found)
        return
    rows = (
        (
            *(each["group"][name] for name in groups),
            each["calls"],
            each["unknown"],
            each["input_tokens"],
            each["output_tokens"],
            each["unknown_tokens"],
            f"{written(each['cost_micros'], each['currency'])} {each['currency']}" if each["currency"] else "",
        )
        for each in found["usage"]
    )
    show_table((*groups, "calls", "unknown", "tokens in", "out", "held unknown", "cost"), rows)
    typer.echo(
        f"{moment(found['since'])} to {moment(found['until'])} UTC" + ("; cut off" if found["truncated"] else ""), err=True
    )
