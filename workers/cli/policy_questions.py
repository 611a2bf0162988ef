"""`soma policy evaluate` and `soma policy replay`: what policies would decide, and what they would have decided."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from domain.errors import InvalidRequest
from domain.names import Effect
from workers.cli.environment import show_json
from workers.cli.options import TENANT, JsonOption, KeyOption, TenantOption

if TYPE_CHECKING:
    from workers.cli.gateway_client import Gateway

_Candidates = Annotated[
    Path | None,
    typer.Option("--policies", metavar="FILE_OR_DIR", exists=True, readable=True, help="Ask these instead; *.cedar of a folder."),
]
_LOOK_SECONDS: Final = 0.5
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Layer(StrEnum):
    """Whose policies the given ones take the place of."""

    TENANT = "tenant"
    CONSTITUTION = "constitution"


_Layer = Annotated[Layer, typer.Option("--layer", help="Whose policies those of --policies take the place of.")]


def evaluate(
    action: Annotated[Effect, typer.Argument(help="What is asked for.")],
    resource: Annotated[str, typer.Argument(help="A session's id, or a model role.")],
    subject: Annotated[str, typer.Option("--subject", help="Who asks.")] = "someone",
    scope: Annotated[list[str] | None, typer.Option("--scope", help="A scope of theirs; repeatable. Else yours.")] = None,
    fact: Annotated[list[str] | None, typer.Option("--fact", metavar="NAME=VALUE", help="A fact; repeatable.")] = None,
    policies: _Candidates = None,
    layer: _Layer = Layer.TENANT,
    tenant: TenantOption = TENANT,
    json: JsonOption = False,
) -> None:
    """Ask the policies without doing anything, and what decided. With --policies these are asked beside those in force.

    Example: soma policy evaluate session:start ses_1 --fact score=700 --fact persona=jailbroken

    Exit codes: 0 permitted, 1 not permitted or refused, 2 called wrongly, 3 no gateway answers.
    """
    from workers.cli.gateway_client import open_gateway

    kind = {"memory": "memory", "model": "model"}.get(action.value.partition(":")[0], "session")
    properties = {} if not scope else {"properties": {"scopes": scope}}
    body: dict[str, Any] = {
        "subject": {"type": "user", "id": subject} | properties,
        "action": {"name": action.value},
        "resource": {"type": kind, "id": resource},
        "context": facts(fact or []),
    }
    if policies is not None:
        body["what_if"] = {layer.value: cedar_text(policies)}
    with open_gateway(tenant, as_json=json) as gateway:
        said = gateway.post("/v1/policy/evaluate", body)
    if json:
        show_json(said)
    else:
        _explain("in force", said)
        if said["context"]["what_if"] is not None:
            _explain("given", said["context"]["what_if"])
    if not said["decision"]:
        raise typer.Exit(1)


def replay(
    policies: _Candidates = None,
    layer: _Layer = Layer.TENANT,
    since: Annotated[
        str | None, typer.Option("--since", help="Decided since then: 7d, 12h, a date or an ISO time; all without it.")
    ] = None,
    key: KeyOption = None,
    tenant: TenantOption = TENANT,
    json: JsonOption = False,
) -> None:
    """Ask recorded decisions again, and list those that would be others. No decision is changed.

    Example: soma policy replay --policies draft.cedar --since 7d

    Exit codes: 0 the same comes out, 1 something differs or refused, 2 called wrongly, 3 no gateway answers.
    """
    from workers.cli.gateway_client import new_key, open_gateway

    body: dict[str, Any] = {"since": begun(since, datetime.now(UTC))}
    if policies is not None:
        body["what_if"] = {layer.value: cedar_text(policies)}
    with open_gateway(tenant, as_json=json) as gateway:
        started = gateway.post("/v1/policy/replays", body, key=key or new_key())
        view = _ended(gateway, f"/v1/policy/replays/{started['replay_id']}")
        path = f"/v1/policy/replays/{view['replay_id']}"
        changes, skipped = (_all(gateway, path, what) for what in ("changes", "skipped"))
    if json:
        show_json({"replay": view, "changes": changes, "skipped": skipped})
    else:
        _show_replay(view, changes, skipped)
    if view["changed"] or view["status"] != "completed":
        raise typer.Exit(1)


def cedar_text(path: Path) -> str:
    """The text of a file, or of all files *.cedar of a folder in the order of their names. Raises InvalidRequest."""
    files = sorted(path.glob("*.cedar")) if path.is_dir() else [path]
    if not files:
        raise InvalidRequest(f"{path} holds no file *.cedar.")
    try:
        return "\n".join(file.read_text(encoding="utf-8") for file in files)
    except UnicodeDecodeError:
        raise InvalidRequest(f"{path} is no text in UTF-8.") from None


def begun(since: str | None, now: datetime) -> str | None:
    """An ISO time of `7d` (as m, h, d or w), a date or an ISO time. Raises InvalidRequest."""
    from workers.cli.times import as_instant

    ago = re.fullmatch(r"([0-9]{1,5})([mhdw])", since or "")
    if ago is None:
        return as_instant(since)
    return (now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})).isoformat()


def facts(given: list[str]) -> dict[str, Any]:
    """Facts by name; several values of `categories` are separated by commas. Raises InvalidRequest."""
    found: dict[str, Any] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals:
            raise InvalidRequest(f"{each} is no NAME=VALUE, such as score=700.")
        found[name] = value.split(",") if name == "categories" else int(value) if value.isdecimal() else value
    return found


def _ended(gateway: Gateway, path: str) -> dict[str, Any]:
    while True:
        view = gateway.get(path)
        if view["status"] != "running":
            return view
        time.sleep(_LOOK_SECONDS)


def _all(gateway: Gateway, path: str, what: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after: str | None = None
    while True:
        page = gateway.get(f"{path}/{what}", limit=200, after=after)
        found += page[what]
        after = page["next"]
        if after is None:
            return found


def _explain(whose: str, said: dict[str, Any]) -> None:
    from workers.cli.display import reasons, show_facts

    context: dict[str, Any] = said["context"]
    show_facts(
        (
            ("policies", whose),
            ("permitted", "yes" if said["decision"] else "no"),
            ("verdict", context["verdict"]),
            ("reasons", reasons(context)),
            *((each["layer"], _layer(each)) for each in context["layers"]),
            ("transform", context["transform"]),
        )
    )


def _layer(said: dict[str, Any]) -> str:
    return f"{said['verdict']} by {', '.join(said['policies']) or 'no policy'}"


def _policies_of(outcome: dict[str, Any]) -> str:
    return "; ".join(f"{each['layer']}: {', '.join(each['policies']) or 'none'}" for each in outcome["layers"])


def _show_replay(view: dict[str, Any], changes: list[dict[str, Any]], skipped: list[dict[str, Any]]) -> None:
    from workers.cli.display import show_table

    if changes:
        rows = (
            (
                each["decision_id"],
                ", ".join(each["effects"]),
                each["before"]["verdict"],
                _policies_of(each["before"]),
                each["after"]["verdict"],
                _policies_of(each["after"]),
            )
            for each in changes
        )
        show_table(("decision", "effects", "was", "by", "would be", "by"), rows)
    if skipped:
        show_table(("not replayable", "why"), ((each["decision_id"], each["why"]) for each in skipped))
    typer.echo(
        f"{view['decisions']} decisions: {view['identical']} identical, {view['changed']} changed, "
        f"{view['not_replayable']} not replayable ({view['status']})."
    )
