"""Folding: a text as moderation reads it, whatever it was dressed up as, with a map back to the original.

In one linear pass each character is decomposed (NFKD), stripped of marks and of everything invisible, case-folded and, where
it looks like a Latin letter, replaced by it; punctuation and symbols outside ASCII become blanks. Then letters that were
spaced or dotted out ("b.o.m.b") are put together, and digits and signs that stand for letters inside a word ("b0mb") become
them.

What surprises: `1`, `!` and `|` inside a word all become `1`, because they stand for i as well as for l, as a capital I does for
l. A pattern's i and l are each read as `[il1]` (see the moderation adapter), so every reading is tried in one pass.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from domain.lookalikes import LOOKALIKES

_HIDDEN: Final = frozenset({"Mn", "Me", "Cf", "Cc"})
_BLANKS: Final = frozenset("\u115f\u1160\u3164\uffa0\u17b4\u17b5")
_TAG_OFFSET: Final = 0xE0000
_CACHED: Final = 65_536

_PLAIN: Final = re.compile(r"[\t-\r -~]*+")
# A flag emoji, or a sentence hidden in invisible tag characters. Single tag characters are just invisible.
_TAGGED: Final = re.compile(r"(?P<flag>\U0001F3F4[\U000E0030-\U000E007A]{1,6}\U000E007F)|(?P<tags>[\U000E0020-\U000E007E]{4,})")
# Three or more single letters with the same separator between them, and no word character around.
_SPACED: Final = re.compile(r"(?<![^\W_])[^\W_](?P<gap>[\W_]{1,3})[^\W_](?:(?P=gap)[^\W_])+(?![^\W_])")
_SIGNED_WORD: Final = re.compile(r"(?<![a-z0-9@$!|])[a-z]*+[0-9@$!|][a-z0-9@$!|]*+")
_LETTER: Final = re.compile(r"[a-z]")
_QUANTITY: Final = re.compile(r"\$?[0-9]+[a-z]{0,3}[@$!|]*")
_DIGITS: Final = str.maketrans("0345789", "oeastbg")
_DOLLARS: Final = re.compile(r"(?<=[a-z])\$+|\$+(?=[a-z])")
_ATS: Final = re.compile(r"(?<=[a-z0-9])@+(?=[a-z0-9])")
_BARS: Final = re.compile(r"(?<=[a-z0-9])[!|]+(?=[a-z0-9])")


@dataclass(frozen=True)
class Folded:
    """A folded text. `origin[i]` is the index in the original of the character that gave folded character `i`; it never falls."""

    text: str
    origin: Sequence[int]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where a non-empty span of the folded text stands in the original."""
        return self.origin[start], self.origin[end - 1] + 1


def fold(text: str) -> Folded:
    """The folded text. Total (unpaired surrogates become U+FFFD), idempotent, linear in the length."""
    return Folded(*_unleet(*_joined(*_characters(text))))


class _Characters(dict[str, str]):
    """What each character becomes by itself: often one character, for ligatures several, for invisible ones none."""

    def __missing__(self, character: str) -> str:
        current, previous = character, ""
        while current != previous:
            previous, current = current, "".join(_folded_once(current))
        if len(self) >= _CACHED:  # no text may fill the memory
            self.clear()
        self[character] = current
        return current


def _folded_once(text: str) -> list[str]:
    parts: list[str] = []
    for decomposed in unicodedata.normalize("NFKD", text):
        for character in LOOKALIKES.get(decomposed, decomposed.casefold()):
            kind = unicodedata.category(character)
            if character.isspace():
                parts.append(character if character in "\n\t " else " ")
            elif kind == "Cs":
                parts.append("\ufffd")
            elif not character.isascii() and kind[0] in "PS" and character != "\ufffd":
                parts.append("-" if kind == "Pd" else " ")
            elif kind not in _HIDDEN and character not in _BLANKS:
                parts.append(character)
    return parts


_TABLE: Final = _Characters()


def _characters(text: str) -> tuple[str, Sequence[int]]:
    if _PLAIN.fullmatch(text):
        return text.lower(), range(len(text))
    parts: list[str] = []
    origin: list[int] = []
    done = 0
    for piece in _TAGGED.finditer(text):
        start, end = piece.span()
        _append(text, done, start, parts, origin)
        if piece.lastgroup == "tags":
            parts.append(" " + "".join(chr(ord(tag) - _TAG_OFFSET) for tag in piece[0]).lower())
            origin += [start, *range(start, end)]
        done = end
    _append(text, done, len(text), parts, origin)
    return "".join(parts), origin


def _append(text: str, start: int, end: int, parts: list[str], origin: list[int]) -> None:
    folded = [_TABLE[character] for character in text[start:end]]
    parts += folded
    origin += [index for index, part in enumerate(folded, start) for _ in part]


def _joined(text: str, origin: Sequence[int]) -> tuple[str, Sequence[int]]:
    """Puts spaced-out letters together. With blanks between, a leading "a" or "i" is taken for the word it is."""
    parts: list[str] = []
    kept: list[int] = []
    done = 0
    for run in _SPACED.finditer(text):
        gap = len(run["gap"])
        singles = list(range(run.start(), run.end(), gap + 1))
        if 2 * sum(text[index].isalpha() for index in singles) < len(singles):
            continue
        if run["gap"].isspace() and text[singles[0]] in "ai" and len(singles) > 3:
            del singles[0]
        parts += [text[done : singles[0]], "".join(text[index] for index in singles)]
        kept += origin[done : singles[0]]
        kept += [origin[index] for index in singles]
        done = run.end()
    if not done:
        return text, origin
    return "".join([*parts, text[done:]]), [*kept, *origin[done:]]


def _unleet(text: str, origin: Sequence[int]) -> tuple[str, Sequence[int]]:
    return _SIGNED_WORD.sub(_word, text), origin


def _word(match: re.Match[str]) -> str:
    """One word without its stand-ins, as long as it was. Numbers with a unit ("5mg", "$50k") stay."""
    word = match[0]
    if _LETTER.search(word) is None or _QUANTITY.fullmatch(word):
        return word
    word = _DOLLARS.sub(lambda run: "s" * len(run[0]), word.translate(_DIGITS))
    word = _ATS.sub(lambda run: "a" * len(run[0]), word)
    return _BARS.sub(lambda run: "1" * len(run[0]), word)
