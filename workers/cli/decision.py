"""`soma decision`: what the gate decided, and answers to what it escalated."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from workers.cli.environment import show_json
from workers.cli.options import TENANT, AfterOption, JsonOption, LimitOption, TenantOption

_decisions = typer.Typer(help="Read decisions; approve or refuse what waits.", no_args_is_help=True, rich_markup_mode=None)

_Id = Annotated[str, typer.Argument(metavar="ID", help="dec_…")]
_Comment = Annotated[str | None, typer.Option("--comment", help="A remark to keep with the answer.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(_decisions, name="decision")


@_decisions.command(name="list")
def list_(
    waiting: Annotated[bool, typer.Option("--waiting", help="Only those that wait for an approver.")] = False,
    limit: LimitOption = 20,
    after: AfterOption = None,
    tenant: TenantOption = TENANT,
    json: JsonOption = False,
) -> None:
    """List the tenant's decisions, newest first. Example: soma decision list --waiting"""
    from workers.cli.display import moment, reasons, show_table
    from workers.cli.gateway_client import open_gateway

    with open_gateway(tenant, as_json=json) as gateway:
        page = gateway.get("/v1/decisions", waiting=waiting, limit=limit, after=after)
    if json:
        show_json(page)
        return
    rows = (
        (
            record["decision"]["decision_id"],
            record["decision"]["verdict"],
            record["decision"]["score"],
            record["resource"],
            _answer(record),
            moment(record["decision"]["decided_at"]),
            reasons(record["decision"]),
        )
        for record in page["decisions"]
    )
    show_table(("id", "verdict", "score", "about", "answer", "at (UTC)", "reasons"), rows, more=page["next"])


@_decisions.command()
def show(decision_id: _Id, tenant: TenantOption = TENANT, json: JsonOption = False) -> None:
    """Show one decision with its reasons and digests. Example: soma decision show dec_…"""
    from workers.cli.gateway_client import at, open_gateway

    with open_gateway(tenant, as_json=json) as gateway:
        _show(gateway.get(at("/v1/decisions", decision_id)), as_json=json)


@_decisions.command()
def approve(decision_id: _Id, comment: _Comment = None, tenant: TenantOption = TENANT, json: JsonOption = False) -> None:
    """Let what waits go on. Saying it again is harmless. Example: soma decision approve dec_… --comment "Checked." """
    _resolve(decision_id, "approve", comment, tenant, as_json=json)


@_decisions.command()
def refuse(decision_id: _Id, comment: _Comment = None, tenant: TenantOption = TENANT, json: JsonOption = False) -> None:
    """End what waits. Saying it again is harmless. Example: soma decision refuse dec_… --comment "Not this data." """
    _resolve(decision_id, "refuse", comment, tenant, as_json=json)


def _resolve(decision_id: str, answer: str, comment: str | None, tenant: str, *, as_json: bool) -> None:
    from workers.cli.gateway_client import at, open_gateway

    body = {} if comment is None else {"comment": comment}
    with open_gateway(tenant, as_json=as_json) as gateway:
        _show(gateway.post(at("/v1/decisions", decision_id, answer), body), as_json=as_json)


def _answer(record: dict[str, Any]) -> str:
    resolution = record["resolution"]
    if resolution is not None:
        return "approved" if resolution["approved"] else "refused"
    return "waiting" if record["decision"]["verdict"] == "escalate" else ""


def _show(record: dict[str, Any], *, as_json: bool) -> None:
    from workers.cli.display import reasons, show_facts

    if as_json:
        show_json(record)
        return
    decision: dict[str, Any] = record["decision"]
    resolution: dict[str, Any] = record["resolution"] or {}
    show_facts(
        (
            ("decision", decision["decision_id"]),
            ("verdict", f"{decision['verdict']} (score {decision['score']})"),
            ("reasons", reasons(decision)),
            ("about", record["resource"]),
            ("asked by", record["subject"]),
            ("workflow", record["workflow_id"]),
            ("answer", _answer(record)),
            ("approver", resolution.get("approver")),
            ("comment", resolution.get("comment")),
            ("policies", decision["policy_digest"]),
            ("own policies", decision["tenant_policy_digest"]),
            ("constitution", decision["constitution_hash"]),
        )
    )
