"""What a call will use, guessed before it runs from what calls of its role used, and how good such guesses were."""

from __future__ import annotations

from statistics import median, quantiles
from typing import Final

from pydantic import Field

from domain.base import Contract, Count

BYTES_PER_TOKEN: Final = 4
ENOUGH: Final = 5
"""Calls of a role from which its history is trusted."""


class PastCall(Contract):
    """What one completed call of a role used, and what had been guessed."""

    input_bytes: Count
    input_tokens: Count
    output_tokens: Count
    forecast_tokens: Count


class History(Contract):
    """Completed calls of a role, newest first, and what forecasts were wrong by and no task has taken over yet."""

    calls: tuple[PastCall, ...] = ()
    carried: int = 0


class Forecast(Contract):
    """Tokens of a call. The interval holds eight of ten past calls of the role, scaled to this input."""

    input_tokens: Count
    output_tokens: Count
    low_tokens: Count
    high_tokens: Count
    calls: Count = Field(description="Past calls it rests on; 0 when it is a guess from sizes alone.")
    median_error: float | None = Field(
        default=None, description="How far off past forecasts were: the median of |actual - forecast| / actual."
    )

    @property
    def tokens(self) -> int:
        """Input and output."""
        return self.input_tokens + self.output_tokens


def forecast(history: tuple[PastCall, ...], input_bytes: int, max_output_tokens: int) -> Forecast:
    """The forecast of a call with that much input and output limit."""
    if len(history) < ENOUGH:
        read = -(-input_bytes // BYTES_PER_TOKEN)
        written = max(1, max_output_tokens // 2)
        return Forecast(input_tokens=read, output_tokens=written, low_tokens=read, high_tokens=read + max_output_tokens, calls=0)
    ratio = median(call.input_tokens / max(1, call.input_bytes) for call in history)
    read = round(input_bytes * ratio)
    outputs = [min(call.output_tokens, max_output_tokens) for call in history]
    tenths = quantiles(outputs, n=10, method="inclusive")
    return Forecast(
        input_tokens=read,
        output_tokens=round(median(outputs)),
        low_tokens=read + round(tenths[0]),
        high_tokens=read + round(tenths[-1]),
        calls=len(history),
        median_error=_error(history),
    )


def _error(history: tuple[PastCall, ...]) -> float | None:
    guessed = [call for call in history if call.forecast_tokens]
    if not guessed:
        return None
    return round(
        median(
            abs(call.input_tokens + call.output_tokens - call.forecast_tokens) / max(1, call.input_tokens + call.output_tokens)
            for call in guessed
        ),
        4,
    )
