"""Redaction: what a policy's `@transform` does to a text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from domain.ports.moderation import Finding

_INSTRUCTIONS: Final = re.compile(r"redact:[a-z][a-z0-9-]{0,62}(?: redact:[a-z][a-z0-9-]{0,62})*")


def categories(transform: str) -> frozenset[str]:
    """The categories of `redact:<category>`, once or more with one space between. Raises ValueError for anything else."""
    if _INSTRUCTIONS.fullmatch(transform) is None:
        raise ValueError("A transform is `redact:<category>`, once or more with one space between.")
    return frozenset(word.removeprefix("redact:") for word in transform.split(" "))


def redact(text: str, findings: Iterable[Finding], wanted: frozenset[str]) -> str:
    """The text with each finding of the wanted categories replaced by `[redacted:<category>]`.

    Findings that overlap become one replacement, named after the one that starts first (the longer one if two start together).
    """
    spans = sorted((f.start, -f.end, f.category) for f in findings if f.category in wanted)
    parts: list[str] = []
    done = 0
    for start, minus_end, category in spans:
        end = -minus_end
        if start >= done:
            parts += [text[done:start], f"[redacted:{category}]"]
        done = max(done, end)
    parts.append(text[done:])
    return "".join(parts)
