"""The rule of a provider's limit: a bucket that fills at the limit's rate and holds one second of it, one token at least.

The lower lanes take only what a reserve leaves over, so that those above always find tokens; and where one of those above
still had to wait, the next token is kept for it. So any number of batch calls may wait without anyone above them noticing.

Times are seconds of any clock that all takers read alike. `adapters/redis/provider_limits.py` has the same rule for Redis.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from domain.names import Lane

KEPT_SECONDS: Final = 0.25
"""How long the next token is kept, beyond its time, for a caller from above that was told to wait for it."""
LACK: Final = 1e-6
"""So little of a token may be missing: rounding takes it."""
LEAST_SECONDS: Final = 0.001
"""Nobody is told to wait for less."""


class Bucket(NamedTuple):
    """What is left. `kept_until`: lower lanes take nothing before."""

    tokens: float
    at: float
    kept_until: float = 0.0


def is_upper(lane: Lane) -> bool:
    """Whether the lane may take from the reserve."""
    return lane <= Lane.PROJECT


def burst(per_second: float) -> float:
    """How many tokens a bucket holds."""
    return max(1.0, per_second)


def reserve(per_second: float) -> float:
    """How many of them the lower lanes leave to those above: half, as long as one remains to be taken."""
    return min(burst(per_second) / 2, burst(per_second) - 1)


def full(per_second: float, now: float) -> Bucket:
    """A bucket nobody took from."""
    return Bucket(burst(per_second), now)


def take(bucket: Bucket, per_second: float, now: float, *, upper: bool) -> tuple[float, Bucket]:
    """0 and the bucket with one token less; or the seconds until one is there for this lane, and the bucket as it is."""
    tokens = min(burst(per_second), bucket.tokens + max(0.0, now - bucket.at) * per_second)
    least = 1.0 if upper else 1.0 + reserve(per_second)
    if least - tokens <= LACK and (upper or bucket.kept_until <= now):
        return 0.0, Bucket(tokens - 1, now, bucket.kept_until)
    wait = max(LEAST_SECONDS, (least - tokens) / per_second, 0.0 if upper else bucket.kept_until - now)
    kept = max(bucket.kept_until, now + wait + KEPT_SECONDS) if upper else bucket.kept_until
    return wait, Bucket(tokens, now, kept)
