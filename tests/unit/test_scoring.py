"""The score: bounded, and never less for more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from domain.constitution import Weights
from domain.decisions import Facts
from domain.scoring import MAX_SCORE, score

COUNTS = st.integers(0, 2**53 - 1)
SMALL = st.integers(0, 2000)
FULL = st.integers(1, 10**9)
WEIGHTS = st.builds(
    Weights,
    **{name: FULL if name.endswith("_full") else st.integers(0, 1000) for name in Weights.model_fields},
)
COUNTED = ("text_bytes", "documents", "document_bytes", "turn")
FACTS = st.builds(Facts, **dict.fromkeys(COUNTED, st.one_of(COUNTS, SMALL)))


@given(FACTS, WEIGHTS, SMALL)
def test_bounds(facts: Facts, weights: Weights, low: int) -> None:
    assert 0 <= score(facts, weights, low) <= MAX_SCORE


@given(FACTS, WEIGHTS, SMALL, st.sampled_from(COUNTED), SMALL)
def test_grows_with_every_fact(facts: Facts, weights: Weights, low: int, name: str, more: int) -> None:
    grown = facts.model_copy(update={name: getattr(facts, name) + more})
    assert score(grown, weights, low) >= score(facts, weights, low)
    assert score(facts, weights, low + more) >= score(facts, weights, low)


@given(FACTS, WEIGHTS)
def test_names_do_not_count(facts: Facts, weights: Weights) -> None:
    assert score(facts.model_copy(update={"persona": "x", "model_role": "y"}), weights, 0) == score(facts, weights, 0)


def test_the_formula() -> None:
    weights = Weights(
        text_bytes=200, text_bytes_full=1000, documents=100, documents_full=10, document_bytes=0, turn=100, turn_full=3
    )
    assert score(Facts(), weights, 0) == 0
    assert score(Facts(text_bytes=500), weights, 0) == 100
    assert score(Facts(text_bytes=5000), weights, 0) == 200
    assert score(Facts(documents=3, turn=1), weights, 0) == 30 + 33
    assert score(Facts(), weights, 1) == 100
    assert score(Facts(text_bytes=5000, documents=10, turn=9), weights, 9) == 200 + 100 + 100 + 300
