"""The price table: genai-prices' bundled data, and the overrides of the configured models. It never fetches anything.

The snapshot's name holds the version of both, so that every record says what it was computed with.
"""

from __future__ import annotations

import hashlib
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from typing import Final

import genai_prices
import rfc8785

from domain.catalogue import Catalogue
from domain.models import Candidate
from domain.ports.models import Priced
from domain.prices import PER_TOKENS, Price

_MICROS: Final = 1_000_000


class GenaiPrices:
    """Implements `domain.ports.models.Prices`."""

    def __init__(self, catalogue: Catalogue) -> None:
        """`catalogue` names each provider's id in the table, and prices of its own."""
        self._ids = {name: provider.prices or name for name, provider in catalogue.providers.items()}
        self._own = {str(model.candidate): model.price for model in catalogue.models if model.price is not None}
        own = {name: price.model_dump() for name, price in sorted(self._own.items())}
        digest = hashlib.sha256(rfc8785.dumps(own)).hexdigest()[:12]
        self._snapshot = f"genai-prices-{genai_prices.__version__}" + (f"+{digest}" if own else "")

    def find(self, candidate: Candidate, input_tokens: int) -> Priced | None:
        """The price of a call with that many input tokens, which may be in a dearer tier; None when it is not known."""
        own = self._own.get(str(candidate))
        price = own or _listed(self._ids.get(candidate.provider, candidate.provider), candidate.model, max(1, input_tokens))
        return Priced(price=price, snapshot=self._snapshot) if price is not None else None


@lru_cache(maxsize=4096)
def _listed(provider: str, model: str, input_tokens: int) -> Price | None:
    # A million output tokens make the price of one readable without rounding; what is asked about is the input's tier.
    usage = genai_prices.Usage(input_tokens=input_tokens, output_tokens=PER_TOKENS)
    try:
        found = genai_prices.calc_price(usage, model, provider_id=provider)
    except LookupError:
        return None
    return Price(
        input_micros=_up(found.input_price * PER_TOKENS / input_tokens),
        output_micros=_up(found.output_price),
        currency="USD",
    )


def _up(dollars: Decimal) -> int:
    return int((dollars * _MICROS).to_integral_value(ROUND_CEILING))
