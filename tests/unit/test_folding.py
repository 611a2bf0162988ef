"""Folding reads through disguises, keeps a map to the original, and leaves ordinary text alone."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.folding import fold
from domain.lookalikes import LOOKALIKES

DATA = Path(__file__).parent.parent / "data"
# Every code point, unpaired surrogates included, with the ones that matter here made likely.
_TRICKY = st.sampled_from(
    [
        *"aAkil01!|@$ .-_\n3457\u200b\u00ad\u202e\u0301\u3164\xdf\ufb01\u041a\u0456\u03bf\U0001d4f4\u24da\ud800",
        *("\U000e0069", "\U000e0069\U000e0067\U000e006e\U000e006f", "\U0001f3f4", "\U000e007f"),
    ]
)
ANY_TEXT = st.lists(st.one_of(_TRICKY, st.integers(0, 0x10FFFF).map(chr)), max_size=60).map("".join)
# Two columns, the dressed one with Python's escapes.
FOLDINGS = [
    (dressed.encode("ascii").decode("unicode_escape"), plain)
    for dressed, plain in (line.split("\t") for line in (DATA / "foldings.tsv").read_text().splitlines())
]
WORDS = st.from_regex(r"[A-Za-z]{2,12}|[0-9]{1,6}", fullmatch=True)
ORDINARY = st.lists(st.tuples(WORDS, st.sampled_from([" ", ", ", ". ", "; ", " (", ") ", "\n"])), max_size=30).map(
    lambda pairs: "".join(word + gap for word, gap in pairs)
)


@given(ANY_TEXT)
def test_total_idempotent_and_encodable(text: str) -> None:
    once = fold(text).text
    assert fold(once).text == once
    once.encode()


@given(ANY_TEXT)
def test_map_never_falls_and_stays_in_range(text: str) -> None:
    folded = fold(text)
    origin = list(folded.origin)
    assert len(origin) == len(folded.text)
    assert origin == sorted(origin)
    assert all(0 <= index < len(text) for index in origin)
    if origin:
        start, end = folded.span(0, len(origin))
        assert 0 <= start < end <= len(text)


@given(ORDINARY)
def test_ordinary_ascii_is_only_lowered(text: str) -> None:
    folded = fold(text)
    assert folded.text == text.lower()
    assert list(folded.origin) == list(range(len(text)))


@given(ORDINARY, st.lists(st.sampled_from("\u200b\u200d\u00ad\u202e\u2066\u0336\u0301\ufe0f\u034f\x00"), max_size=5))
def test_invisible_characters_change_nothing(text: str, invisible: list[str]) -> None:
    assert fold("".join(character + "".join(invisible) for character in text)).text == text.lower()


@pytest.mark.parametrize(("dressed", "plain"), FOLDINGS)
def test_reads_through(dressed: str, plain: str) -> None:
    assert fold(dressed).text == plain


@pytest.mark.parametrize(
    "text",
    ["5 mg", "5mg twice", "3 litres", "$50k", "1st 2nd 3rd", "wow!! stop!", "a @ b", "100 $", "covers 1 2 3 4 5", "kill!! it"],
)
def test_quantities_and_punctuation_stay(text: str) -> None:
    assert fold(text).text == text


def test_span_points_into_the_original() -> None:
    text = "say \u200bk.\u0456.l.l now"
    folded = fold(text)
    start = folded.text.index("kill")
    begin, end = folded.span(start, start + 4)
    assert text[begin:end] == "k.\u0456.l.l"


def test_lookalikes_give_lower_case_latin() -> None:
    assert all(value.isascii() and value.islower() for value in LOOKALIKES.values())
    assert not any(character.isascii() for character in LOOKALIKES)


@pytest.mark.parametrize("unit", ["a", "a0", "0", "a ", "a!", "a.b ", "\u0301", "й", "!@$|", "a \u200b", "\U000e0061"])
def test_linear_in_the_length(unit: str) -> None:
    """Eight times the text takes about eight times as long; a quadratic step would take sixty-four."""

    def seconds(count: int) -> float:
        text = unit * count
        best = []
        for _ in range(3):
            started = time.perf_counter()
            fold(text)
            best.append(time.perf_counter() - started)
        return min(best)

    assert seconds(80_000) < 24 * seconds(10_000) + 0.05
