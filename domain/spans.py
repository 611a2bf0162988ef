"""Cuts a text that is still being written into spans that are looked at, and released, one by one.

A span ends with a sentence or a paragraph, and after 200 characters at the latest, at a word's end where there is one. Where a
span ends depends on the text alone, not on the pieces it came in. What surprises: `domain.sentences` does not serve here. It
looks at what follows before it calls a sentence ended, and leaves out what holds no word; here nothing may wait for long and
every character belongs to a span. A sentence cut too early does no harm.
"""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 200
"""Characters of a span."""
WINDOW_LETTERS: Final = 1_000
"""Letters and digits before a span that are looked at with it, since what is refused may begin there."""
WINDOW_CHARACTERS: Final = 10_000
"""A window never reaches back further."""

# A blank or a line's end must follow, so that neither "3.14" nor an ellipsis is taken apart; not in scripts without blanks.
_END: Final = re.compile(
    "[.!?\u2026]++[\"'\u201d\u2019\u00bb\u203a)\\]*_`]*+(?=\\s)"
    "|[\u3002\uff01\uff1f\uff61]++[\u201d\u2019\u300d\u300f\uff09]*+(?=.)"
    "|\\n[ \\t]*\\n",
    re.DOTALL,
)
# What holds no word is no sentence: rows of dots or blank lines do not become a span each.
_WORD: Final = re.compile(r"[^\W_]")
_WORD_END: Final = re.compile(r"\s(?=\S*+\Z)")


def span_end(text: str, start: int, *, whole: bool) -> int | None:
    """Where the span that begins at `start` ends; None while more text is needed to tell. `whole`: no more will come."""
    limit = start + LONGEST
    word = _WORD.search(text, start, limit)
    mark = _END.search(text, word.end(), limit + 1) if word else None
    if mark is not None and mark.end() <= limit:
        return mark.end()
    if len(text) > limit:
        return _last_word_end(text, start, limit)
    return len(text) if whole and start < len(text) else None


def window_start(text: str, start: int) -> int | None:
    """Where to begin to read what is looked at together with the span at `start`: at a word, so many letters before it.

    None where so few letters stand in so many characters that nobody can tell what belongs together.
    """
    least = max(0, start - WINDOW_CHARACTERS)
    position, letters = start, 0
    while position > least and (letters < WINDOW_LETTERS or text[position - 1].isalnum()):
        position -= 1
        letters += text[position].isalnum()
    return position if position == 0 or letters >= WINDOW_LETTERS else None


def _last_word_end(text: str, start: int, limit: int) -> int:
    """After the last blank before the limit; the limit where there is none."""
    blank = _WORD_END.search(text[start:limit])
    return start + blank.end() if blank else limit
