"""What a model call costs, in whole micro-units of a currency, always rounded up."""

from __future__ import annotations

from typing import Final

from domain.base import Contract, Count

PER_TOKENS: Final = 1_000_000


class Price(Contract):
    """Micro-units of `currency` for a million tokens."""

    input_micros: Count
    output_micros: Count
    currency: str = "USD"


class Money(Contract):
    """An amount, and the version of the price table it was computed with."""

    micros: Count
    currency: str
    snapshot: str


def cost(price: Price, input_tokens: int, output_tokens: int) -> int:
    """Micro-units of these tokens, rounded up."""
    return -(-(input_tokens * price.input_micros + output_tokens * price.output_micros) // PER_TOKENS)
