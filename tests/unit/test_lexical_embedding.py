"""Lexical embeddings: length 1, the same for the same text, near for texts that share words."""

from __future__ import annotations

import math
import subprocess
import sys

from hypothesis import example, given, settings
from hypothesis import strategies as st

from domain.lexical_embedding import DIMENSIONS, lexical_vector


def nearness(one: str, other: str) -> float:
    return sum(a * b for a, b in zip(lexical_vector(one), lexical_vector(other), strict=True))


@settings(deadline=None)
@given(st.text(max_size=300), st.integers(1, 600))
@example("", 1)
@example("the and of", 512)
@example("!?", 7)
@example("\ud800", 3)
def test_every_text_has_a_finite_vector_of_length_one(text: str, dimensions: int) -> None:
    vector = lexical_vector(text, dimensions)
    assert len(vector) == dimensions
    assert all(math.isfinite(number) for number in vector)
    assert math.isclose(math.fsum(number * number for number in vector), 1.0, abs_tol=1e-9)
    assert vector == lexical_vector(text, dimensions)


@settings(deadline=None)
@given(st.text(max_size=200))
def test_a_text_is_nearest_to_itself_and_case_does_not_count(text: str) -> None:
    assert math.isclose(nearness(text, text), 1.0, abs_tol=1e-9)


@given(st.permutations(["green", "tea", "steeps", "two", "minutes", "in", "porcelain"]))
def test_the_order_of_words_does_not_count(words: list[str]) -> None:
    assert math.isclose(nearness(" ".join(words), "Green tea steeps two minutes in porcelain"), 1.0, abs_tol=1e-9)


def test_texts_that_share_words_are_nearer() -> None:
    question = "How long does green tea steep?"
    assert nearness(question, "Steeping green teas takes two minutes.") > 0.5
    assert nearness(question, "The shop opens at nine.") < 0.2
    assert nearness("Wie lange zieht gr\u00fcner Tee?", "GR\u00dcNER TEE zieht zwei Minuten.") > 0.4
    assert nearness("\u7eff\u8336\u6ce1\u591a\u4e45", "\u7eff\u8336\u6ce1\u4e24\u5206\u949f") > 0.3


def test_another_process_makes_the_same_vector() -> None:
    code = f"from domain.lexical_embedding import lexical_vector; print(lexical_vector('Green tea', {DIMENSIONS}) )"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == str(lexical_vector("Green tea"))
