"""Shares of a busy queue by cost instead of by count.

Temporal's fairness dispatches each key in turn, weighted, and counts every task as one. A weight inversely proportional to
what the task is forecast to use makes it share tokens. What a forecast was wrong by is carried into the tenant's next tasks,
so that the shares hold over time even where forecasts do not.
"""

from __future__ import annotations

from typing import Final

TYPICAL_TOKENS: Final = 1_000
"""`C`: a call of so many tokens of a tenant of weight 1 has weight 1."""
LOWEST: Final = 0.001
HIGHEST: Final = 1000.0
"""Bounds of Temporal's fairness weight."""


def charge(forecast_tokens: int, carried: int) -> tuple[int, int]:
    """What a task is counted as, in tokens, and the part of `carried` that it takes over.

    `carried` is what earlier forecasts of the tenant fell short by (negative: what they were too high by). A task takes it
    over as far as it still counts for at least a tenth and at most ten times its own forecast.
    """
    own = max(1, forecast_tokens)
    charged = min(max(own + carried, own // 10, 1), own * 10)
    return charged, charged - own


def weight(tenant_weight: float, charged_tokens: int) -> float:
    """Temporal's `fairness_weight` of a task."""
    return min(max(tenant_weight * TYPICAL_TOKENS / max(1, charged_tokens), LOWEST), HIGHEST)
