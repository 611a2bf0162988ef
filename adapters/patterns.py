"""Moderation patterns: RE2 syntax as people write it, read against folded text.

What surprises, all of it because the text is folded: a blank stands for any run of ASCII characters that are neither letters
nor digits; a letter also stands for the digits and signs it is written with ("make 4 b0mb"), i and l for each other too;
characters outside ASCII are folded as the text is. Quantifiers, escapes and the blanks of character classes are untouched.
"""

from __future__ import annotations

import re
from typing import Any, Final

import re2

from domain.folding import fold

_GAP: Final = r"[\x00-/:-`{-\x7f]"
"""What stands between words. Folded text has no punctuation outside ASCII, so this is a small automaton."""

EDGE: Final = r"[\x00-/:-@\[-^`{-\x7f]"
"""What stands beside a match, unless the text begins or ends there: no letter, digit or underscore of any script."""

_READINGS: Final = {"a": "a4@", "b": "b8", "e": "e3", "i": "il1!|", "l": "il1!|", "o": "o0", "s": "s5$", "t": "t7"}

_TOKEN: Final = re.compile(
    r"(?P<escape>\\(?:[pP]\{[^}]*\}|[pP].|x\{[^}]*\}|x[0-9a-fA-F]{2}|.))"
    r"|(?P<group>\(\?(?:P?<\w+>|[imsU-]*[:)]))"
    r"|(?P<repeat>\{\d+(?:,\d*)?\})"
    r"|(?P<set>\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\])"
    r"|(?P<one>.)",
    re.DOTALL,
)
# The library ships no annotations.
_driver: Any = re2


class PatternError(ValueError):
    """A pattern that cannot be used; the message says why."""


def compile_re2(pattern: str) -> Any:
    """A compiled RE2 pattern. Raises PatternError."""
    options = _driver.Options()
    options.log_errors = False
    try:
        return _driver.compile(pattern, options)
    except _driver.error as error:
        reason = error.args[0] if error.args else "invalid"
        raise PatternError(reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)) from None


def search_set(patterns: list[str], max_mem: int) -> Any:
    """Patterns compiled into one automaton that says which of them match. Raises PatternError."""
    options = _driver.Options()
    options.log_errors = False
    options.max_mem = max_mem
    compiled = _driver.Set.SearchSet(options)
    try:
        for pattern in patterns:
            compiled.Add(pattern)
        compiled.Compile()
    except _driver.error as error:
        raise PatternError(f"the rules together are too large ({error})") from None
    return compiled


def translate(pattern: str, *, loose: bool = False) -> str:
    r"""The RE2 pattern that finds in folded text what this one describes; `loose`: also where the gaps are gone.

    It is not compiled here. Raises PatternError for `\Q` and `\C`, and for a character class that does not compile.
    """
    gap = f"{_GAP}*" if loose else f"(?:{_GAP}+)"
    return "".join(gap if token[0] == " " else _token(token) for token in _TOKEN.finditer(pattern))


def require_usable(pattern: str) -> None:
    """Raises PatternError, which says why the pattern cannot be used."""
    if compile_re2(translate(pattern)).fullmatch("") is not None:
        raise PatternError("it matches the empty text")


def _token(token: re.Match[str]) -> str:
    text = token[0]
    match token.lastgroup:
        case "escape" if text in ("\\Q", "\\C", "\\E"):
            raise PatternError(f"{text} is not supported")
        case "escape" | "group" | "repeat":
            return text
        case "set":
            return _set(text)
        case _:
            return _literal(text)


def _literal(character: str) -> str:
    lowered = character.lower()
    if character.isascii():
        return f"[{_READINGS[lowered]}]" if lowered in _READINGS else lowered
    parts = (_literal(part) if part.isalnum() and part.isascii() else re.escape(part) for part in fold(character).text)
    return f"(?:{''.join(parts)})"


def _set(text: str) -> str:
    """A character class; one that holds i or l holds all of i, l and 1."""
    lowered = re.sub(r"\\.|[^\\]", lambda part: part[0] if part[0][0] == "\\" else fold(part[0]).text, text, flags=re.DOTALL)
    if lowered.startswith("[^") or compile_re2(lowered).search("il") is None:
        return lowered
    return f"(?:{lowered}|[il1])"
