"""`soma tour`: the product at work, on real input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from workers.cli.environment import FAILED, complain, home, show_json

if TYPE_CHECKING:
    from workers.tour.record import Fact, Step, TourRecord
    from workers.tour.stage import Scene


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(tour)


def tour(json: Annotated[bool, typer.Option("--json", help="Print what was seen as JSON, once all is over.")] = False) -> None:
    """Show the running stack at work; kills one of its workers on purpose.

    A document is added and a session answers about it; one prompt is refused by moderation, one request by policy; a worker is
    killed with SIGKILL in the middle of an answer, and the turn completes; the events of all this are listed. Takes about half a
    minute. Example: soma tour

    Exit codes: 0 everything was seen, 1 something was not, 3 the stack does not run.
    """
    from runtime.settings import settings
    from workers.tour.tour import run_tour

    if json:
        record = run_tour(home(), settings(), begin=_say_nothing, end=_say_nothing)
        show_json(record.model_dump(mode="json"))
    else:
        record = run_tour(home(), settings(), begin=_announce, end=_show)
        _conclude(record)
    if not record.ok:
        complain(f"Not everything was seen: {', '.join(step.name for step in record.steps if not step.seen)}.")
        raise typer.Exit(FAILED)


def _say_nothing(_: Scene | Step) -> None:
    return


def _announce(scene: Scene) -> None:
    from workers.cli.display import console

    printer = console()
    printer.print()
    printer.print(scene.title, style="bold")
    printer.print(f"Expected: {scene.expected}", style="dim")


def _show(step: Step) -> None:
    from workers.cli.display import console, show_facts

    show_facts([*_lines(step.facts), ("workflow", step.workflow_id), ("in Temporal", step.temporal_url)])
    verdict = f"seen in {step.seconds:.1f} s" if step.seen else f"NOT SEEN: {step.trouble}"
    console().print(verdict, style="green" if step.seen else "bold red")


def _lines(facts: dict[str, Fact]) -> list[tuple[str, object]]:
    """Facts as lines: of a list each item is one; text is laid out anew."""
    lines: list[tuple[str, object]] = []
    for name, value in facts.items():
        items = value if isinstance(value, list) else [value]
        lines += [("" if number else name, " ".join(str(item).split())) for number, item in enumerate(items) if item is not None]
    return lines


def _conclude(record: TourRecord) -> None:
    from workers.cli.display import console

    seen = sum(step.seen for step in record.steps)
    printer = console()
    printer.print()
    printer.print(
        f"{seen} of {len(record.steps)} seen in {record.seconds:.0f} s.", style="bold green" if record.ok else "bold red"
    )
