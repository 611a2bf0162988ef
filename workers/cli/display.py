"""How commands show what the gateway answered to a person: names and values, turns, decisions.

Texts come from users and models: nothing in them may act on the terminal, so control characters are shown, not sent.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.console import Console

_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_PIPE_WIDTH: Final = 200


def console() -> Console:
    """Standard output; a pipe has no width of its own, so there nothing is cut off."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    return Console(file=sys.stdout, width=width, markup=False, emoji=False, highlight=False)


def visible(text: object) -> str:
    """The text with every control character but tab and newline made visible; an empty text for None."""
    return "" if text is None else _CONTROL.sub("\ufffd", str(text))


def moment(time: str | None) -> str:
    """An ISO time without its fraction and zone: the gateway's times are UTC."""
    return (time or "").partition(".")[0].removesuffix("Z").replace("T", " ")


def show_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print names and values, a line each; those without a value are left out."""
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        if value not in (None, "", ()):
            table.add_row(name, visible(value))
    console().print(table)


def show_table(columns: Iterable[str], rows: Iterable[Iterable[object]], *, more: str | None = None) -> None:
    """Print a table; `more` is the cursor of the next page."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*(visible(cell) for cell in row))
    printer = console()
    printer.print(table)
    if more is not None:
        printer.print(f"There are more: --after {more}")


def show_turn(turn: Mapping[str, Any]) -> None:
    """Print a message and its answer."""
    printer = console()
    printer.print(f"> {visible(turn['content'])}", style="bold")
    if turn["reply"] is not None:
        printer.print(visible(turn["reply"]))
    printer.print(_about_turn(turn), style="dim")


def reasons(decision: Mapping[str, Any]) -> str:
    """The reasons of a decision in one line."""
    return "; ".join(f"{reason['code']}: {reason['message']}" for reason in decision["reasons"])


def _about_turn(turn: Mapping[str, Any]) -> str:
    parts = [f"{turn['turn_id']} {turn['status']}"]
    if turn["model"]:
        usage = turn["usage"]
        parts.append(f"{turn['model']}, {usage['input_tokens']} tokens in, {usage['output_tokens']} out")
    if turn["citations"]:
        spans = (f"{cited['source']} {cited['start']}-{cited['end']}" for cited in turn["citations"])
        parts.append(f"cites {', '.join(spans)}")
    if turn["error"]:
        parts.append(f"{turn['error']['type']}: {turn['error']['detail']}")
    if turn["decision"] and turn["decision"]["reasons"]:
        parts.append(reasons(turn["decision"]))
    parts += turn["warnings"]
    return visible(" | ".join(parts))
