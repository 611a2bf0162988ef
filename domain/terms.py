"""Words of a text as comparable terms: case, accents and common endings folded, for languages with and without spaces.

Endings are cut without knowing the language, so a term is a key for comparing and no word to show.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from domain.stop_words import stop_words

_WORD = re.compile(r"[^\W_]+")
_TOKEN = re.compile(r"[^\W_]+|[^\w\s]|_")
# Scripts that write no spaces between words: Thai, kana, Han, Hangul. Pairs of characters stand in for words.
_UNSPACED = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_ENDINGS: Final = sorted(
    (
        *("ations", "ation", "ments", "ment", "ness", "ings", "ing", "ies", "ied", "ers", "est", "ed", "ly", "y"),
        *("ungen", "ung", "eren", "erem", "erer", "eres", "ere", "ern", "et", "er", "en", "em"),
        *("es", "as", "os", "is", "s", "e", "n", "a", "o", "i"),
    ),
    key=len,
    reverse=True,
)
_SHORTEST_STEM: Final = 4
_LANGUAGE_WORDS: Final = 2000


def count_tokens(text: str) -> int:
    """How many tokens the embedded model sees in a text: its words and its single marks."""
    return sum(1 for _ in _TOKEN.finditer(text))


def telling_words(text: str) -> tuple[str, ...]:
    """The words that carry meaning, in lower case, each once, in order; what is common in the text's language is left out."""
    folds = {word: _fold(word) for word in dict.fromkeys(match[0].lower() for match in _WORD.finditer(text))}
    common = stop_words(tuple(folds.values())[:_LANGUAGE_WORDS])
    return tuple(
        word
        for word, folded in folds.items()
        if folded not in common and (len(folded) > 1 or folded.isdigit() or not folded.isascii())
    )


def content_words(text: str) -> tuple[str, ...]:
    """The telling words with case and accents folded, each once, in order."""
    return tuple(dict.fromkeys(map(_fold, telling_words(text))))


def terms_of(folded: str) -> tuple[str, ...]:
    """The terms of one folded word: its stem, or the pairs of characters of a script without spaces."""
    if _UNSPACED.search(folded):
        return tuple(folded[at : at + 2] for at in range(len(folded) - 1)) or (folded,)
    return (_stem(folded),)


class Terms(dict[str, tuple[str, ...]]):
    """Turns words into terms; remembers each word it has seen, so that a long text costs little."""

    def __missing__(self, word: str) -> tuple[str, ...]:
        """The terms of a word not seen before."""
        terms = self[word] = terms_of(_fold(word))
        return terms

    def of(self, text: str, start: int, end: int) -> list[str]:
        """The terms of `text[start:end]`, in order."""
        return [term for word in _WORD.findall(text, start, end) for term in self[word]]


def _fold(word: str) -> str:
    folded = word.casefold()
    if folded.isascii():
        return folded
    if _UNSPACED.search(folded):
        return unicodedata.normalize("NFKC", folded)
    return "".join(character for character in unicodedata.normalize("NFKD", folded) if not unicodedata.combining(character))


def _stem(word: str) -> str:
    if word[-1:].isdigit():
        return word
    if len(word) == _SHORTEST_STEM and word.endswith("s") and not word.endswith("ss"):
        return word[:-1]
    for ending in _ENDINGS:
        if len(word) - len(ending) >= _SHORTEST_STEM and word.endswith(ending):
            return word[: -len(ending)]
    return word
