"""The score of a request: how much it asks for, from 0 to 1000.

    score = min(1000, Σ weight · min(1, fact / full))

over the facts text bytes, documents, document bytes, turn and low-severity findings, with the weights and full values of the
constitution. Integers only, so that it is the same everywhere: each term is `weight * min(fact, full) // full`.
"""

from __future__ import annotations

from typing import Final

from domain.constitution import Weights
from domain.decisions import Facts

MAX_SCORE: Final = 1000


def score(facts: Facts, weights: Weights, low_findings: int) -> int:
    """0..1000. `low_findings` counts the moderation rules of severity `low` that the text breaks. Grows with every fact."""
    terms = (
        (weights.text_bytes, facts.text_bytes, weights.text_bytes_full),
        (weights.documents, facts.documents, weights.documents_full),
        (weights.document_bytes, facts.document_bytes, weights.document_bytes_full),
        (weights.turn, facts.turn, weights.turn_full),
        (weights.moderation_low, low_findings, weights.moderation_low_full),
    )
    return min(MAX_SCORE, sum(weight * min(max(fact, 0), full) // full for weight, fact, full in terms))
