"""Sentences of a text by their offsets, in linear time.

A line break alone ends no sentence, since lines are often wrapped; a blank line, a heading, a list item and a table row do.
Offsets count characters of the text as given, and `text[start:end]` is the sentence without surrounding space or list marks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

LONGEST: Final = 500
"""Characters; what runs on for longer is cut at the last space before."""

_LINE = re.compile(r"[^\n]*\n?")
_MARK = re.compile(r"(?:[-*+\u2022>#|]+|\d{1,3}[.)])(?=\s|$)|#{1,6}")
_LEAD = re.compile(r"(?:\s|(?<![^\s])[-*+\u2022>#|]++(?=\s|$)|\d{1,3}[.)](?=\s))*+")
_RULE = re.compile(r"[-=*_|: \t]{3,}$")
# The look-behind lets a run of marks be tried once only, which keeps the search linear.
_END = re.compile(
    "(?<![.!?\u2026])[.!?\u2026]++[\"'\u201d\u2019\u00bb\u203a)\\]]*+(?=\\s|$)"
    "|[\u3002\uff01\uff1f\uff61]++[\u201d\u2019\u300d\u300f\uff09]*+"
)
_WORD_BEFORE = re.compile(r"(?:^|[\s.(])([^\W_]+)$")
_ABBREVIATIONS: Final = frozenset(
    (
        *(
            "mr",
            "mrs",
            "ms",
            "dr",
            "prof",
            "st",
            "sr",
            "jr",
            "vs",
            "etc",
            "eg",
            "ie",
            "cf",
            "al",
            "ca",
            "approx",
            "no",
            "nr",
            "vol",
        ),
        *(
            "fig",
            "sec",
            "dept",
            "inc",
            "ltd",
            "co",
            "corp",
            "bzw",
            "usw",
            "ggf",
            "inkl",
            "zzgl",
            "vgl",
            "evtl",
            "str",
            "abs",
            "art",
        ),
        *(
            "mme",
            "mlle",
            "env",
            "sra",
            "dra",
            "pag",
            "num",
            "ing",
            "dott",
            "jan",
            "feb",
            "mar",
            "apr",
            "jun",
            "jul",
            "aug",
            "sept",
        ),
        *("sep", "oct", "nov", "dec", "min", "max", "tel", "ext", "pp"),
    )
)
_LONGEST_ABBREVIATION: Final = 8


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each sentence, in order and apart; only spans that hold a letter or digit."""
    for block_start, block_end in _blocks(text):
        start = block_start
        for mark in _END.finditer(text, block_start, block_end):
            if _ends_sentence(text, mark.start(), mark.end(), block_end):
                yield from _pieces(text, start, mark.end())
                start = mark.end()
        yield from _pieces(text, start, block_end)


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Paragraphs, headings, list items and table rows."""
    start = end = 0
    for line in _LINE.finditer(text):
        content = line[0].strip()
        if not line[0]:
            break
        begins = _MARK.match(content) is not None
        rule = _RULE.match(content) is not None
        if (not content or begins or rule) and end > start:
            yield start, end
        if not content or begins or rule or end <= start:
            start = line.start()
        end = start if not content or rule else line.end()
        if content.startswith(("#", "|")) and end > start:
            yield start, end
            start = end
    if end > start:
        yield start, end


def _ends_sentence(text: str, mark: int, after: int, block_end: int) -> bool:
    """False after an abbreviation, an initial or an ordinal, and where a lower-case letter goes on after a dot or a quotation."""
    if text[mark] not in ".!?\u2026" or after >= block_end:
        return True
    quoted = text[after - 1] not in ".!?\u2026"
    if (text[mark] == "." or quoted) and text[after : after + _LONGEST_ABBREVIATION].lstrip()[:1].islower():
        return False
    if text[mark] != "." or after - mark > 1:
        return True
    word = _WORD_BEFORE.search(text, max(mark - _LONGEST_ABBREVIATION, 0), mark)
    if word is None:
        return True
    before = word[1]
    return not (before.casefold() in _ABBREVIATIONS or len(before) == 1 or (before.isdigit() and len(before) < 3))


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The span without lead and surrounding space, cut where it is too long; nothing when it holds no word."""
    lead = _LEAD.match(text, start, end)
    start = lead.end() if lead else start
    while start < end:
        cut = end
        if end - start > LONGEST:
            space = max(text.rfind(" ", start, start + LONGEST), text.rfind("\n", start, start + LONGEST))
            cut = space if space > start else start + LONGEST
        piece = text[start:cut]
        stripped = piece.strip()
        if any(character.isalnum() for character in stripped):
            first = start + len(piece) - len(piece.lstrip())
            yield first, first + len(stripped)
        start = cut
