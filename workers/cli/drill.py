"""`soma drill`: rehearse what must work on the worst day, on the running platform, and print what was measured."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from workers.cli.environment import complain, show_json
from workers.cli.options import JsonOption

_drills = typer.Typer(help="Rehearse the worst day, and measure it.", no_args_is_help=True, rich_markup_mode=None)
_MOST_RUNS = 1000
_EXPIRES_SECONDS = 300


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(_drills, name="drill")


@_drills.callback()
def _group() -> None:
    """Keeps the name of a single command."""


@_drills.command(name="kill-switch")
def kill_switch(
    tenant: Annotated[str, typer.Option("--tenant", help="The tenant that is stopped, and let go again after minutes.")],
    runs: Annotated[int, typer.Option("--runs", help="Sessions that are busy when it is.", min=1, max=_MOST_RUNS)] = 20,
    within: Annotated[int, typer.Option("--within", help="Seconds until everything must be quiet.", min=5)] = 90,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask: the tenant's work is really stopped.")] = False,
    json: JsonOption = False,
) -> None:
    """Stop a tenant with busy sessions, see that new work is refused, and check the signed statement.

    Take a tenant of its own: `soma bootstrap --tenant drill` makes one. The switch ends by itself after five minutes.

    Example: soma drill kill-switch --tenant drill --yes

    Exit codes: 0 quiet and proven, 1 not, 2 called wrongly, 3 no gateway answers.
    """
    from domain.errors import StoppedByKillSwitch
    from workers.cli.gateway_client import new_key, open_gateway

    if not yes:
        typer.confirm(
            f"Everything that tenant {tenant} runs is ended, and it starts nothing for five minutes. Go on?", abort=True
        )
    with open_gateway(tenant, as_json=json) as gateway:
        for number in range(runs):
            body = {"prompt": f"Drill {number}: say what you know."}
            gateway.post("/v1/sessions/start", body, key=new_key(), wait=0)
        body = {"scope": "tenant", "reason": "soma drill kill-switch", "expires_in_seconds": _EXPIRES_SECONDS}
        begun = time.monotonic()
        made = gateway.post("/v1/kill-switches", body, key=new_key())
        engaged_ms = round((time.monotonic() - begun) * 1000)
        refused = False
        try:
            gateway.post("/v1/sessions/start", {}, key=new_key())
        except StoppedByKillSwitch:
            refused = True
        stated = _until_stated(gateway, made["switch_id"], within)
        envelope = gateway.get(f"/v1/kill-switches/{made['switch_id']}/statement") if stated else None
    result: dict[str, Any] = {"switch_id": made["switch_id"], "engaged_ms": engaged_ms, "new_work_refused": refused}
    if envelope is not None:
        result |= _proven(envelope)
    _tell(result, as_json=json)
    if not refused or envelope is None or result.get("signature") != "holds":
        complain(f"The drill failed; see `soma kill-switch show {made['switch_id']}` and the logs of the workers.")
        raise typer.Exit(1)


def _until_stated(gateway: Any, switch_id: str, seconds: int) -> bool:
    deadline = time.monotonic() + seconds
    while gateway.get(f"/v1/kill-switches/{switch_id}")["stated_at"] is None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


def _proven(envelope: dict[str, Any]) -> dict[str, Any]:
    """What the statement says, once its signature holds."""
    from adapters.signing import read_trusted_keys
    from adapters.statements import verify_statement
    from domain.errors import DomainError
    from runtime.settings import settings

    path = settings().statement_trusted_keys_file
    if path is None:
        return {"signature": "not checked: STATEMENT_TRUSTED_KEYS_FILE is not set"}
    try:
        statement = verify_statement(envelope, read_trusted_keys(path))
    except DomainError as error:
        return {"signature": error.detail}
    names = ("silence_ms", "stillness_ms", "runs_found", "effects_found", "effects_unknown", "effects_unrecorded")
    return {"signature": "holds", **{name: getattr(statement, name) for name in names}}


def _tell(result: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(result)
        return
    for name, value in result.items():
        typer.echo(f"{name.replace('_', ' ')}: {value}")
