"""Folding: a text as moderation reads it, whatever it was dressed up as, with a map back to the original.

In one linear pass each character is decomposed (NFKD), stripped of marks and of everything invisible, case-folded and, where
it looks like a Latin letter, replaced by it; punctuation and symbols outside ASCII become some in it. Then letters that were
spaced or dotted out ("b.o.m.b") are put together, and digits and signs that stand for letters inside a word ("b0mb") become
them.

What surprises: `1`, `!` and `|` stay, because they stand for i as well as for l; so do digits that are words of their own ("70"
for "to"). Patterns read them as the letters they may be (see `adapters.patterns`), so every reading is tried in one pass.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from domain.lookalikes import LOOKALIKES

_HIDDEN: Final = frozenset({"Mn", "Me", "Cf", "Cc"})
_PUNCTUATION: Final = {"Pd": "-", "Pi": "'", "Pf": "'"}
_BLANKS: Final = frozenset("\u115f\u1160\u3164\uffa0\u17b4\u17b5")
_TAG_OFFSET: Final = 0xE0000
_CACHED: Final = 65_536

_PLAIN: Final = re.compile(r"[\t-\r -~]*+")
# A flag emoji, or a sentence hidden in invisible tag characters. Single tag characters are just invisible.
_TAGGED: Final = re.compile(r"(?P<flag>\U0001F3F4[\U000E0030-\U000E007A]{1,6}\U000E007F)|(?P<tags>[\U000E0020-\U000E007E]{4,})")
# Three or more single letters with the same separator between them, and no word character around.
_SPACED: Final = re.compile(r"(?<![^\W_])[^\W_](?P<gap>[\W_]{1,3})[^\W_](?:(?P=gap)[^\W_])+(?![^\W_])")
_BESIDE: Final = 3
_SIGNED_WORD: Final = re.compile(r"(?<![a-z0-9@$])[a-z]*+[0-9@$][a-z0-9@$]*+")
_LETTER: Final = re.compile(r"[a-z]")
_QUANTITY: Final = re.compile(r"\$?[0-9]+[a-z]{0,3}[@$]*")
_DIGITS: Final = str.maketrans("0345789", "oeastbg")
_DOLLARS: Final = re.compile(r"(?<=[a-z])\$+|\$+(?=[a-z])")
_ATS: Final = re.compile(r"(?<=[a-z0-9])@+(?=[a-z0-9])")


@dataclass(frozen=True)
class Folded:
    """A folded text.

    `origin[i]` is the index in the original of the character that gave folded character `i`; it never falls. `spelled` are the
    spans of the folded text that were put together from single letters: where words end in them is not known.
    """

    text: str
    origin: Sequence[int]
    spelled: tuple[tuple[int, int], ...] = ()

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where a non-empty span of the folded text stands in the original."""
        return self.origin[start], self.origin[end - 1] + 1


def fold(text: str) -> Folded:
    """The folded text. Total (unpaired surrogates become U+FFFD), idempotent, linear in the length."""
    plain, origin, spelled = _joined(*_characters(text))
    return Folded(_SIGNED_WORD.sub(_word, plain), origin, spelled)


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
                parts.append(_PUNCTUATION.get(kind, "*"))
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


def _joined(text: str, origin: Sequence[int]) -> tuple[str, Sequence[int], tuple[tuple[int, int], ...]]:
    """Puts spaced-out letters together, and says where."""
    parts: list[str] = []
    kept: list[int] = []
    spelled: list[tuple[int, int]] = []
    done = 0
    for singles in _spelled_out(text):
        parts += [text[done : singles[0]], "".join(text[index] for index in singles)]
        kept += origin[done : singles[0]]
        spelled.append((len(kept), len(kept) + len(singles)))
        kept += [origin[index] for index in singles]
        done = singles[-1] + 1
    if not spelled:
        return text, origin, ()
    return "".join([*parts, text[done:]]), [*kept, *origin[done:]], tuple(spelled)


def _spelled_out(text: str) -> list[range]:
    """Where single letters make words: three or more in a row, or pairs right beside such a row, in order."""
    found: list[range] = []
    runs = [run for run in _SPACED.finditer(text) if _mostly_letters(run)]
    limits = [*(run.start() for run in runs), len(text)][1:]
    for run, limit in zip(runs, limits, strict=False):
        row = range(run.start(), run.end(), len(run["gap"]) + 1)
        before: list[range] = []
        while pair := _pair(text, (before or [row])[-1], run["gap"], found[-1][-1] + 1 if found else 0, -1):
            before.append(pair)
        found += [*reversed(before), row]
        while pair := _pair(text, found[-1], run["gap"], limit, 1):
            found.append(pair)
    return found


def _mostly_letters(run: re.Match[str]) -> bool:
    gap = len(run["gap"])
    return 2 * sum(map(str.isalpha, run[0])) >= (len(run[0]) + gap) // (gap + 1)


def _pair(text: str, row: range, gap: str, limit: int, way: int) -> range | None:
    """Two single letters with that gap next to a row, on the way to a limit."""
    edge = row[-1] if way > 0 else row[0]
    near = next((at for at in range(edge + way, edge + way * (_BESIDE + 2), way) if text[at : at + 1].isalnum()), -1)
    first = near if way > 0 else near - len(gap) - 1
    pair = range(first, first + len(gap) + 2, len(gap) + 1)
    if near < 0 or first < 0 or (pair[-1] >= limit if way > 0 else first < limit):
        return None
    alone = not (text[first - 1 : first].isalnum() or text[pair[-1] + 1 : pair[-1] + 2].isalnum())
    return pair if alone and text[first].isalnum() and text[first + 1 : pair[-1]] == gap and text[pair[-1]].isalnum() else None


def _word(match: re.Match[str]) -> str:
    """One word without its stand-ins, as long as it was. Numbers with a unit ("5mg", "$50k") stay."""
    word = match[0]
    if _LETTER.search(word) is None or _QUANTITY.fullmatch(word):
        return word
    word = _DOLLARS.sub(lambda run: "s" * len(run[0]), word.translate(_DIGITS))
    return _ATS.sub(lambda run: "a" * len(run[0]), word)
