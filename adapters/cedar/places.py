"""Where in a Cedar text a policy stands: Cedar's JSON and its validator name a policy by its number alone."""

from __future__ import annotations

import re
from typing import Final

# What is neither blank nor comment belongs to a policy, and a semicolon outside of strings and comments ends it.
_TOKEN: Final = re.compile(
    r'(?P<skipped>\s+|//[^\n]*)|(?P<string>"(?:\\.|[^"\\])*"?)|(?P<end>;)|(?P<other>[^\s";/]+|/)', re.DOTALL
)


def sources(text: str) -> tuple[tuple[int, str], ...]:
    """Each policy's offset and text, in order. A last one that no semicolon ends is among them."""
    found: list[tuple[int, str]] = []
    begun: int | None = None
    for token in _TOKEN.finditer(text):
        if token.lastgroup == "skipped":
            continue
        begun = token.start() if begun is None else begun
        if token.lastgroup == "end":
            found.append((begun, text[begun : token.end()]))
            begun = None
    return tuple(found) if begun is None else (*found, (begun, text[begun:]))


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """Of a character of the text, both from 1."""
    line = text.count("\n", 0, offset) + 1
    return line, offset - (text.rfind("\n", 0, offset) + 1) + 1
