"""Spans of a growing text: whole, short, released as soon as they can be told, and never cut by how the text arrived."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.spans import LONGEST, WINDOW_CHARACTERS, WINDOW_LETTERS, span_end, window_start

MARKED = st.text(st.sampled_from("aé1 .!?…。\uff01\n\t\"')*")) | st.text(st.sampled_from("ab "), min_size=150, max_size=700)
TEXT = st.lists(MARKED | st.text(), max_size=4).map("".join)


def spans(text: str) -> list[str]:
    return fed([text])


def fed(pieces: list[str]) -> list[str]:
    """The spans of a text that comes in pieces."""
    found: list[str] = []
    text, start = "", 0
    for number, piece in enumerate(pieces, 1):
        text += piece
        while (end := span_end(text, start, whole=number == len(pieces))) is not None:
            found.append(text[start:end])
            start = end
    assert start == len(text)
    return found


@given(TEXT)
def test_together_they_are_the_text_and_none_is_empty_or_long(text: str) -> None:
    found = spans(text)
    assert "".join(found) == text
    assert all(1 <= len(span) <= LONGEST for span in found)


@given(TEXT, st.data())
def test_where_they_end_does_not_depend_on_the_pieces(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=10)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert fed(pieces) == spans(text)
    assert fed([*text, ""]) == spans(text)


@given(TEXT)
def test_nothing_is_held_longer_than_needed(text: str) -> None:
    """Never more than 200 characters, and never past a sentence's end that is known to be one."""
    start = 0
    for length in range(len(text) + 1):
        while (end := span_end(text[:length], start, whole=False)) is not None:
            start = end
        held = text[start:length]
        assert len(held) <= LONGEST
        word = next((place for place, character in enumerate(held) if character.isalnum()), length)
        assert ". " not in held[word:]
        assert "\n\n" not in held[word:]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello there. How are you?", ["Hello there.", " How are you?"]),
        ('Pi is 3.14159. Wait... "Really?" Yes!', ["Pi is 3.14159.", " Wait...", ' "Really?"', " Yes!"]),
        ("A line\nand its next\n\nA paragraph", ["A line\nand its next\n\n", "A paragraph"]),
        ("**Bold.** Then more", ["**Bold.**", " Then more"]),
        ("你好。我很好\uff01", ["你好。", "我很好\uff01"]),
        ("x" * 450, ["x" * 200, "x" * 200, "x" * 50]),
        ("word " * 41, ["word " * 40, "word "]),
        ("word " * 39 + "longer-than-that " * 2, ["word " * 39, "longer-than-that longer-than-that "]),
        (" . " * 80 + "Done. ", [" . " * 66 + " ", ". " + " . " * 13 + "Done.", " "]),
        ("word " + "x" * 194 + ". y", ["word " + "x" * 194 + ".", " y"]),
        ("word " + "x" * 194 + "\n\n", ["word " + "x" * 194 + "\n", "\n"]),
        ("", []),
    ],
)
def test_examples(text: str, expected: list[str]) -> None:
    assert spans(text) == expected
    assert fed([*text, ""]) == expected


@given(TEXT, st.data())
def test_a_window_begins_at_a_word_and_holds_enough(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    begin = window_start(text, start)
    assert begin is not None
    assert 0 <= begin <= start
    letters = sum(map(str.isalnum, text[begin:start]))
    assert begin == 0 or (letters >= WINDOW_LETTERS and not text[begin - 1].isalnum())


def test_a_window_reaches_over_many_gaps_and_says_when_it_cannot() -> None:
    text = "word " * 1_000
    assert window_start(text, len(text)) == len(text) - WINDOW_LETTERS // 4 * 5
    padded = "how to make a" + " " * (WINDOW_CHARACTERS - 20) + "bomb"
    assert window_start(padded, len(padded)) == 0
    assert window_start("word " * 100 + "." * WINDOW_CHARACTERS, 500 + WINDOW_CHARACTERS) is None
    # One word without end: no place to begin at.
    assert window_start("x" * 3 * WINDOW_CHARACTERS, 2 * WINDOW_CHARACTERS) == WINDOW_CHARACTERS


@pytest.mark.parametrize("unit", ["a", " ", ".", "a. ", ".)", "\n ", "。", "*"])
def test_linear_in_the_length(unit: str) -> None:
    def seconds(count: int) -> float:
        text = unit * count
        best: list[float] = []
        for _ in range(3):
            began, start = time.perf_counter(), 0
            while (end := span_end(text, start, whole=True)) is not None:
                start = end
            best.append(time.perf_counter() - began)
        return min(best)

    assert seconds(80_000) < 24 * seconds(10_000) + 0.05
