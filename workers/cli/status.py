"""`soma status`: where everything is and what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from workers.cli.environment import NOT_RUNNING, USAGE, complain, home, show_json, show_table

if TYPE_CHECKING:
    from workers.embedded.status import Report


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(status)


def status(
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    address: Annotated[
        str | None,
        typer.Option("--address", help="Print only where this part is: gateway, temporal-ui, temporal, postgres, valkey."),
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, max=60, help="CPU is measured over this long.")] = 1.0,
) -> None:
    """Show each process: address, pid, state, CPU and memory.

    Exit codes: 0 all is ready, 2 there is no such part, 3 it is not running.
    """
    from workers.embedded.status import report

    found = report(home(), 0.1 if address else seconds)
    if address is not None:
        _show_address(found, address)
        return
    if json:
        show_json(found.model_dump())
    else:
        show_report(found)
    if not found.ready:
        complain(_remedy(found))
        raise typer.Exit(NOT_RUNNING)


def _show_address(found: Report, part: str) -> None:
    if not found.running:
        complain(_remedy(found))
        raise typer.Exit(NOT_RUNNING)
    if part not in found.addresses:
        complain(f"There is no part {part}; there are {', '.join(sorted(found.addresses))}.")
        raise typer.Exit(USAGE)
    typer.echo(found.addresses[part])


def show_report(found: Report) -> None:
    """Print a report as a table, with the links a person wants."""
    rows = [
        (row.name, row.phase, row.pid, row.address, row.restarts, f"{row.cpu_percent:.1f}", f"{row.memory_mb:.0f}")
        for row in found.rows
    ]
    rows.append(("total", found.phase, None, "", sum(row.restarts for row in found.rows), *_total(found)))
    show_table(
        None,
        ("part", "state", "pid", "address", "restarts", "CPU %", "MB"),
        rows,
        right=("pid", "restarts", "CPU %", "MB"),
    )
    for name in found.replaced:
        typer.echo(f"{name}: replaced by the address you set")
    if url := found.addresses.get("gateway"):
        typer.echo(f"Gateway      {url}")
    if url := found.addresses.get("temporal-ui"):
        typer.echo(f"Temporal UI  {url}")
    typer.echo(f"Home         {found.home}")


def _total(found: Report) -> tuple[str, str]:
    return f"{found.cpu_percent:.1f}", f"{found.memory_mb:.0f}"


def _remedy(found: Report) -> str:
    if found.running:
        waiting = [row.name for row in found.rows if row.phase not in ("ready", "running")]
        return f"Not everything serves yet ({', '.join(waiting) or found.phase}); see `soma logs`."
    if any(row.pid for row in found.rows):
        return "The supervisor was killed and left processes; `soma up` recovers, `soma down` ends them."
    return "The stack is not running; start it with `soma up`."
