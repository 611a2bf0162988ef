"""`Prefer: wait=20` (RFC 7240): how long an answer may be waited for, in seconds."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import Header

from domain.errors import InvalidRequest

MAX_WAIT: Final = 60
_WAIT: Final = re.compile(r"(?:^|,)\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?:$|[,;])", re.IGNORECASE)

Prefer = Annotated[
    str | None,
    Header(
        max_length=200,
        description=f"`wait=N`: answer with the finished turn if it ends within N seconds (at most {MAX_WAIT}), else with 202.",
        examples=["wait=20"],
    ),
]
"""`prefer: Prefer = None`."""


def wait_seconds(prefer: str | None, default: int) -> int:
    """The seconds asked for, at most a minute; the default when nothing is asked. Raises InvalidRequest."""
    if prefer is None:
        return default
    if match := _WAIT.search(prefer):
        return min(int(match[1]), MAX_WAIT)
    if "wait" in prefer.lower():
        raise InvalidRequest("The Prefer header asks for a wait that is not a whole number of seconds; send `Prefer: wait=20`.")
    return default
