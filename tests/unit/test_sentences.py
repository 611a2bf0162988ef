"""Sentences by offset: any text, exact spans, linear time."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.sentences import LONGEST, sentences

MARKS = st.text(st.sampled_from('aA1 .!?…。\n\t#-*|>"”)—:Dr'), max_size=200)


def split(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@given(st.one_of(st.text(), MARKS))
def test_spans_are_in_order_apart_trimmed_and_lose_no_word(text: str) -> None:
    spans = list(sentences(text))
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    for start, end in spans:
        piece = text[start:end]
        assert piece == piece.strip()
        assert any(character.isalnum() for character in piece)
        assert end - start <= LONGEST


@given(st.lists(st.text(st.characters(categories=["Lu", "Ll"]), min_size=2, max_size=9), min_size=1, max_size=40))
def test_every_word_of_a_paragraph_is_in_some_sentence(words: list[str]) -> None:
    text = ". ".join(words)
    assert "".join(split(text)).replace(".", "").replace(" ", "") == "".join(words)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("It costs 3.50 euros\nper cup. Next.", ["It costs 3.50 euros\nper cup.", "Next."]),
        ("Dr. Who met J. Smith, e.g. on 3. Oktober. Then", ["Dr. Who met J. Smith, e.g. on 3. Oktober.", "Then"]),
        ("“Really?” she said. (Yes.) No.", ["“Really?” she said.", "(Yes.)", "No."]),
        ("In 1999. The end... and so on. Well… Yes", ["In 1999.", "The end... and so on.", "Well…", "Yes"]),
        ("# Title\nText one.\n\nPara two", ["Title", "Text one.", "Para two"]),
        ("- one. Two\n  goes on\n- three\n1. four\n2) five", ["one.", "Two\n  goes on", "three", "four", "five"]),
        ("| a | b |\n|---|---|\n| c | d |", ["a | b |", "c | d |"]),
        ("Head\n====\nBody", ["Head", "Body"]),
        ("これは文です。次の文です\uff01終わり", ["これは文です。", "次の文です\uff01", "終わり"]),
        ("", []),
        ("... !? \n\n ---", []),
    ],
)
def test_sentences_end_where_a_reader_would_end_them(text: str, expected: list[str]) -> None:
    assert split(text) == expected


def test_what_never_ends_is_cut_between_words() -> None:
    pieces = split("word " * 1000)
    assert all(len(piece) <= LONGEST for piece in pieces)
    assert all(piece.replace("word", "").strip() == "" for piece in pieces)
    assert len("".join(split("x" * 5000))) == 5000


@pytest.mark.parametrize("unit", [".", "a. ", "\n", "\n \n", "- ", "-\n", "1. ", "| ", "#", ".)", "x", " ", '?"', ". . "])
def test_time_grows_with_the_length_only(unit: str) -> None:
    """Eight times the text may take eight times as long; quadratic work would take sixty-four times."""

    def seconds(characters: int) -> float:
        text = unit * (characters // len(unit)) + "x"
        best = float("inf")
        for _ in range(3):
            started = time.process_time()
            for _ in sentences(text):
                pass
            best = min(best, time.process_time() - started)
        return best

    small, large = seconds(12_000), seconds(96_000)
    assert large < 30 * max(small, 0.002)
