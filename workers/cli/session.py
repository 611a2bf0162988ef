"""`soma session`: start a session, talk in it, read it, end it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from workers.cli.environment import FAILED, complain, show_json
from workers.cli.options import (
    TENANT,
    AfterOption,
    JsonOption,
    KeyOption,
    LimitOption,
    TenantOption,
    WaitOption,
    WithinOption,
)

_sessions = typer.Typer(help="Start sessions and talk in them.", no_args_is_help=True, rich_markup_mode=None)

_Id = Annotated[str, typer.Argument(metavar="ID", help="ses_…")]


class Status(StrEnum):
    """States a list can be narrowed to."""

    AWAITING_APPROVAL = "awaiting_approval"
    OPEN = "open"
    DENIED = "denied"
    CLOSED = "closed"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(_sessions, name="session")


@_sessions.command()
def start(
    prompt: Annotated[str | None, typer.Argument(help="The first message; a session may start without one.")] = None,
    document: Annotated[
        list[str] | None, typer.Option("--document", "-d", help="Id of a document to answer about; may be repeated.")
    ] = None,
    persona: Annotated[str | None, typer.Option("--persona", help="Who is to answer; policies may look at it.")] = None,
    role: Annotated[str | None, typer.Option("--role", help="Role of the model to ask.")] = None,
    wait: WaitOption = True,
    within: WithinOption = 120.0,
    key: KeyOption = None,
    tenant: TenantOption = TENANT,
    json: JsonOption = False,
) -> None:
    """Start a session and print its decision and, with a prompt, its answer.

    Example: soma session start "Which port does the gateway listen on?" --document doc_…

    Exit codes: 0 started (or waits for an approver), 1 refused or not answered, 2 called wrongly, 3 no gateway answers.
    """
    from workers.cli.gateway_client import new_key, open_gateway

    body: dict[str, Any] = {"documents": document or []}
    body |= {name: value for name, value in (("prompt", prompt), ("persona", persona), ("model_role", role)) if value is not None}
    with open_gateway(tenant, as_json=json) as gateway:
        # Longer than a minute the gateway does not wait; what is left is waited for at the turn's address.
        first = within if wait and prompt is not None else 0.0
        started = gateway.post("/v1/sessions/start", body, key=key or new_key(), wait=first)
        url: str | None = started["turn_url"]
        turn = gateway.await_turn(url, within if wait else 0.0) if url is not None else None
    if json:
        show_json(started | {"turn": turn})
    else:
        _show_started(started, turn)
    _judge(turn, waited=wait)


@_sessions.command()
def send(
    session_id: _Id,
    message: Annotated[str, typer.Argument(help="What to say.")],
    wait: WaitOption = True,
    within: WithinOption = 120.0,
    key: KeyOption = None,
    tenant: TenantOption = TENANT,
    json: JsonOption = False,
) -> None:
    """Send a message and print its answer; with --no-wait only queue it.

    Example: soma session send ses_… "And which port are its metrics on?"

    Exit codes: 0 answered (or queued, or waits for an approver), 1 refused or not answered, 2 called wrongly, 3 no gateway
    answers.
    """
    from workers.cli.display import show_turn
    from workers.cli.gateway_client import at, new_key, open_gateway

    with open_gateway(tenant, as_json=json) as gateway:
        first = within if wait else 0.0
        taken = gateway.post(at("/v1/sessions", session_id, "messages"), {"content": message}, key=key or new_key(), wait=first)
        turn = gateway.await_turn(taken["turn_url"], within) if wait else taken["turn"]
    if json:
        show_json(taken | {"turn": turn})
    else:
        show_turn(turn)
    _judge(turn, waited=wait)


@_sessions.command()
def show(session_id: _Id, tenant: TenantOption = TENANT, json: JsonOption = False) -> None:
    """Show a session and its whole transcript. Example: soma session show ses_…"""
    from workers.cli.display import show_turn
    from workers.cli.gateway_client import at, open_gateway

    turns: list[dict[str, Any]] = []
    with open_gateway(tenant, as_json=json) as gateway:
        page = gateway.get(at("/v1/sessions", session_id), limit=200)
        turns += page["turns"]
        while page["next"] is not None:
            page = gateway.get(at("/v1/sessions", session_id), limit=200, after=page["next"])
            turns += page["turns"]
    session = page["session"]
    if json:
        show_json({"session": session, "turns": turns})
        return
    _show_session(session)
    for turn in turns:
        typer.echo()
        show_turn(turn)


@_sessions.command(name="list")
def list_(
    status: Annotated[Status | None, typer.Option("--status", help="Only those in this state.")] = None,
    limit: LimitOption = 20,
    after: AfterOption = None,
    tenant: TenantOption = TENANT,
    json: JsonOption = False,
) -> None:
    """List the tenant's sessions, newest first. Example: soma session list --status open"""
    from workers.cli.display import moment, show_table
    from workers.cli.gateway_client import open_gateway

    with open_gateway(tenant, as_json=json) as gateway:
        page = gateway.get("/v1/sessions", status=status.value if status else None, limit=limit, after=after)
    if json:
        show_json(page)
        return
    rows = (
        (
            each["session_id"],
            each["status"],
            each["decision"]["verdict"],
            each["turns"],
            len(each["documents"]),
            each["persona"],
            moment(each["created_at"]),
        )
        for each in page["sessions"]
    )
    show_table(("id", "status", "verdict", "turns", "documents", "persona", "started (UTC)"), rows, more=page["next"])


@_sessions.command()
def cancel(session_id: _Id, tenant: TenantOption = TENANT, json: JsonOption = False) -> None:
    """Stop the turn that runs; messages queued behind it go on. Example: soma session cancel ses_…"""
    from workers.cli.display import show_turn
    from workers.cli.gateway_client import at, open_gateway

    with open_gateway(tenant, as_json=json) as gateway:
        stopped = gateway.post(at("/v1/sessions", session_id, "cancel"))
    if json:
        show_json(stopped)
    elif stopped["turn"] is None:
        typer.echo("Nothing ran in the session.")
    else:
        show_turn(stopped["turn"])


@_sessions.command()
def close(session_id: _Id, tenant: TenantOption = TENANT, json: JsonOption = False) -> None:
    """Close a session: it takes no more messages; those it took are still answered. Example: soma session close ses_…"""
    from workers.cli.gateway_client import at, open_gateway

    with open_gateway(tenant, as_json=json) as gateway:
        closed = gateway.post(at("/v1/sessions", session_id, "close"))
    if json:
        show_json(closed)
    else:
        typer.echo(f"{closed['session_id']} is {closed['status']}.")


def _show_started(started: dict[str, Any], turn: dict[str, Any] | None) -> None:
    from workers.cli.display import reasons, show_facts, show_turn

    decision = started["decision"]
    waiting = started["status"] == Status.AWAITING_APPROVAL
    show_facts(
        (
            ("session", started["session_id"]),
            ("status", started["status"]),
            ("verdict", f"{decision['verdict']} (score {decision['score']})"),
            ("reasons", reasons(decision)),
            ("approve with", f"soma decision approve {decision['decision_id']}" if waiting else None),
            ("workflow", started["workflow_id"]),
            ("in Temporal", started["temporal_url"]),
        )
    )
    if turn is not None:
        typer.echo()
        show_turn(turn)


def _show_session(session: dict[str, Any]) -> None:
    from workers.cli.display import moment, reasons, show_facts

    decision = session["decision"]
    show_facts(
        (
            ("session", session["session_id"]),
            ("status", session["status"]),
            ("closed because", session["close_reason"]),
            ("verdict", f"{decision['verdict']} (score {decision['score']})"),
            ("reasons", reasons(decision)),
            ("persona", session["persona"]),
            ("role", session["model_role"]),
            ("documents", ", ".join(session["documents"])),
            ("started by", session["subject"]),
            ("started (UTC)", moment(session["created_at"])),
            ("workflow", session["workflow_id"]),
        )
    )


def _judge(turn: dict[str, Any] | None, *, waited: bool) -> None:
    """Exit 1 when a message that was waited for has no answer; an approver may still give it one."""
    if turn is None or not waited or turn["status"] in ("completed", "awaiting_approval"):
        return
    ended = turn["status"] in ("denied", "failed", "cancelled")
    said = f"ended as {turn['status']}" if ended else f"is still {turn['status']}; look again with `soma session show`"
    complain(f"The turn {turn['turn_id']} {said}.")
    raise typer.Exit(FAILED)
