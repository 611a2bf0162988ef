"""Limits of providers, counted in Redis so that all workers together keep to them.

The rule stands in `domain.provider_limits`; here it stands a second time, as a script, so that taking is one round trip
however many take. What surprises: who is refused is told to come back at a time of its own, spread over a second. Otherwise
a thousand waiting calls would all ask for every token.

While Redis is away each process keeps to the limit by itself, and where it was emptied the bucket is full again: either may
send a second's worth too much, which the provider then refuses and which is tried again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from adapters.redis.connection import RedisAwayError, RedisConnection
from domain import provider_limits
from domain.names import SYSTEM_TENANT, Lane
from domain.provider_limits import KEPT_SECONDS, LACK, LEAST_SECONDS, Bucket

SPREAD_SECONDS: Final = 1.0
_TAKE: Final = """
local per_second, burst, least, upper = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1'
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local held = redis.call('HMGET', KEYS[1], 'tokens', 'at', 'kept')
local at, kept = tonumber(held[2] or now), tonumber(held[3] or 0)
local tokens = math.min(burst, tonumber(held[1] or burst) + math.max(0, now - at) * per_second)
local wait = 0
if least - tokens <= tonumber(ARGV[5]) and (upper or kept <= now) then
    tokens = tokens - 1
else
    wait = math.max(tonumber(ARGV[6]), (least - tokens) / per_second, upper and 0 or kept - now)
    if upper then kept = math.max(kept, now + wait + tonumber(ARGV[7])) end
end
local function text(number) return string.format('%.6f', number) end
redis.call('HSET', KEYS[1], 'tokens', text(tokens), 'at', text(now), 'kept', text(kept))
redis.call('PEXPIRE', KEYS[1], math.ceil(1000 * (math.max(burst / per_second, kept - now) + 1)))
return text(wait)
"""


class RedisProviderLimits:
    """Implements `domain.ports.models.ProviderLimits`."""

    def __init__(self, redis: RedisConnection, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`, in seconds, is for the buckets kept in memory and for spreading those who wait."""
        self._redis, self._clock = redis, clock
        self._own: dict[str, Bucket] = {}
        self._next: dict[tuple[str, bool], float] = {}

    async def take(self, provider: str, per_second: float, lane: Lane) -> float:
        """0 when the call may be sent now and is counted; else the seconds until it is worth asking again."""
        upper = provider_limits.is_upper(lane)
        try:
            wait = await self._shared(provider, per_second, upper=upper)
        except RedisAwayError:
            now = self._clock()
            bucket = self._own.get(provider) or provider_limits.full(per_second, now)
            wait, self._own[provider] = provider_limits.take(bucket, per_second, now, upper=upper)
        return self._spread(provider, per_second, wait, upper=upper) if wait > 0 else 0.0

    async def _shared(self, provider: str, per_second: float, *, upper: bool) -> float:
        least = 1.0 if upper else 1.0 + provider_limits.reserve(per_second)
        arguments = per_second, provider_limits.burst(per_second), least, int(upper), LACK, LEAST_SECONDS, KEPT_SECONDS
        key = f"{SYSTEM_TENANT}:provider-limit:{provider}"
        return float(await self._redis.run(lambda client: client.eval(_TAKE, 1, key, *arguments)))

    def _spread(self, provider: str, per_second: float, wait: float, *, upper: bool) -> float:
        """The wait of this caller: a token's time after the one before it, a second at most after the token is there."""
        now = self._clock()
        earliest = now + wait
        after = self._next.get((provider, upper), 0.0) + 1 / per_second
        at = after if earliest < after <= earliest + SPREAD_SECONDS else earliest
        self._next[provider, upper] = at
        return at - now
