"""`soma-lexical`: vectors from the words of a text, without weights. Texts that share words are near; it knows no synonyms.

Each term stands at two places that its digest gives, with a sign each, so that two terms seldom look like one. A term counts by
the square root of how often it occurs, and the vector has length 1. The same text has the same vector everywhere.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from typing import Final

from domain.terms import Terms, content_words, terms_of

DIMENSIONS: Final = 512
_PLACES: Final = 2
_BYTES: Final = 4


def lexical_vector(text: str, dimensions: int = DIMENSIONS) -> tuple[float, ...]:
    """The text's vector of length 1, with so many dimensions."""
    vector = [0.0] * dimensions
    for term, occurrences in _weighed(text).items():
        weight = math.sqrt(occurrences)
        for place, sign in _places(term, dimensions):
            vector[place] += sign * weight
    length = math.sqrt(math.fsum(number * number for number in vector))
    if length == 0:
        # Terms that cancel each other out.
        return (1.0, *vector[1:])
    return tuple(number / length for number in vector)


def _weighed(text: str) -> Counter[str]:
    """How often each term occurs: what is common in the language is left out, unless there is nothing else."""
    every = Counter(Terms().of(text, 0, len(text)))
    telling = {term for word in content_words(text) for term in terms_of(word)}
    kept = Counter({term: occurrences for term, occurrences in every.items() if term in telling})
    return kept or every or Counter((text.strip(),))


def _places(term: str, dimensions: int) -> list[tuple[int, int]]:
    """Where a term stands in a vector and with which sign, at each of its places."""
    digest = hashlib.blake2b(term.encode(errors="surrogatepass"), digest_size=_PLACES * _BYTES).digest()
    numbers = [int.from_bytes(digest[at : at + _BYTES], "big") for at in range(0, len(digest), _BYTES)]
    return [((number >> 1) % dimensions, 1 if number & 1 else -1) for number in numbers]
