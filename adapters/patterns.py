"""Moderation patterns: RE2 syntax as people write it, read against folded text.

What surprises, all of it because the text is folded: a blank stands for any run of characters that are neither letters nor
digits; i and l are read as `[il1]`, which folding does not tell apart; other characters outside ASCII are folded as the text
is. Character classes keep their blanks, quantifiers and escapes are untouched.
"""

from __future__ import annotations

import re
from typing import Any, Final

import re2

from domain.folding import fold

GAP: Final = r"[\x00-/:-`{-\x7f]+"
"""What a blank in a pattern stands for. Folded text has no punctuation outside ASCII, so this is a small automaton."""

EDGE: Final = r"[\x00-/:-@\[-^`{-\x7f]"
"""What stands beside a match, unless the text begins or ends there: no letter, digit or underscore of any script."""

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


def translate(pattern: str) -> str:
    r"""The RE2 pattern that finds in folded text what this one describes.

    Raises PatternError, for `\Q`, `\C` and what matches the empty text too.
    """
    if re2_matches(pattern, ""):
        raise PatternError("it matches the empty text")
    translated = "".join(_token(token) for token in _TOKEN.finditer(pattern))
    compile_re2(translated)
    return translated


def re2_matches(pattern: str, text: str) -> bool:
    """Whether the pattern matches the whole text. Raises PatternError when it does not compile."""
    return compile_re2(pattern).fullmatch(text) is not None


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
    if character == " ":
        return GAP
    if character in "ilIL":
        return "[il1]"
    if character.isascii():
        return character.lower()
    folded = fold(character).text
    return "".join(_literal(part) for part in folded) if len(folded) == 1 else f"(?:{''.join(map(_literal, folded))})"


def _set(text: str) -> str:
    """A character class; one that holds i or l holds all of i, l and 1."""
    lowered = re.sub(r"\\.|[^\\]", lambda part: part[0] if part[0][0] == "\\" else fold(part[0]).text, text, flags=re.DOTALL)
    if lowered.startswith("[^") or not (re2_matches(lowered, "i") or re2_matches(lowered, "l")):
        return lowered
    return f"{lowered[:-1]}il1]"
