"""A vendor's usage report as a file: CSV with a header, or JSON lines. Whole numbers only; a wrong line is named, not skipped."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from domain.errors import InvalidRequest, TooLarge
from domain.reconciling import MAX_LINES, VendorUsage

_MAX_BYTES: Final = 7 * 1024 * 1024
"""What a request to the gateway may hold, with some room for JSON."""
_NEEDED: Final = frozenset({"idempotency_key", "input_tokens", "output_tokens"})


def read_report(file: Path) -> list[VendorUsage]:
    """The report's lines. Raises InvalidRequest with the number of the first wrong line, TooLarge for what must be split."""
    if file.stat().st_size > _MAX_BYTES:
        raise TooLarge(f"{file} has more than {_MAX_BYTES} bytes; split it, and name --since and --until with no part of it.")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidRequest(f"{file} is not UTF-8; convert it first, for instance with iconv.") from None
    read = _json_lines if text.lstrip().startswith("{") else _csv
    lines = [_line(number, members) for number, members in read(text)]
    if len(lines) > MAX_LINES:
        raise TooLarge(f"{file} has more than {MAX_LINES} lines; split it, and name --since and --until with no part of it.")
    return lines


def _csv(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    rows = csv.DictReader(text.splitlines(), strict=True)
    header = frozenset(rows.fieldnames or ())
    if not header >= _NEEDED:
        raise InvalidRequest(f"The report's header lacks {', '.join(sorted(_NEEDED - header))}.")
    try:
        for row in rows:
            # A cell that is empty says nothing; one that is missing or too many means the line is not what the header says.
            if None in row or None in row.values():
                raise InvalidRequest(f"Line {rows.line_num} of the report has not as many cells as its header.")
            yield rows.line_num, {name: _number(value) if name != "idempotency_key" else value for name, value in row.items()}
    except csv.Error as error:
        raise InvalidRequest(f"Line {rows.line_num} of the report is no CSV: {error}.") from None


def _json_lines(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            members = json.loads(line)
        except ValueError:
            members = None
        if not isinstance(members, dict):
            raise InvalidRequest(f"Line {number} of the report is no JSON object.")
        yield number, members


def _number(cell: str) -> int | str | None:
    return int(cell) if cell.isascii() and cell.isdecimal() and len(cell) <= 16 else cell or None


def _line(number: int, members: dict[str, Any]) -> VendorUsage:
    known = {name: members[name] for name in VendorUsage.model_fields if members.get(name) is not None}
    try:
        return VendorUsage.model_validate(known, strict=True)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, fault["loc"]))
        raise InvalidRequest(f"Line {number} of the report: {place}: {fault['msg']}.") from None
