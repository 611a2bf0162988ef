"""Rate limits over a sliding minute, counted in Redis so that every gateway counts alike.

While Redis is away each gateway counts in its own memory: never closed, and open no further than by the number of gateways.
Redis is asked again after a pause, so that its absence costs one bounded wait now and then and not one a request.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol, cast

import structlog
from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.exceptions import RedisError

from domain.errors import DependencyUnavailable
from domain.ports.rate_limits import Quota

_PAUSE_SECONDS: Final = 5.0
_TIMEOUT_SECONDS: Final = 1.0
_CONNECTIONS: Final = 8
_RECKONING_SECONDS: Final = 0.5
_PLENTY: Final = 100
_MAX_REMEMBERED: Final = 4096
_PREFIX: Final = "somagent-limit"

log = structlog.get_logger("adapters.rate_limit")


class _Left(NamedTuple):
    """What was left of a limit when the store was last asked. Only shown: what is allowed the store says each time."""

    remaining: int
    reset_at: float
    until: float


class _Client(Protocol):
    """What we use of a Redis client."""

    async def ping(self) -> object: ...

    async def aclose(self) -> None: ...


def _client(storage: RedisStorage) -> _Client:
    bridge: Any = storage.bridge
    return cast(_Client, bridge.get_connection())


class EdgeRateLimiter:
    """Implements `RateLimiter`."""

    def __init__(self, redis_url: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        """Without `redis_url` it counts in memory alone. `clock` times the pause, in seconds."""
        self._memory = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._redis: RedisStorage | None = None
        self._shared: SlidingWindowCounterRateLimiter | None = None
        self._asked_again_at = 0.0
        self._connections = asyncio.Semaphore(_CONNECTIONS)
        self._clock = clock
        self._left: dict[tuple[str, str], _Left] = {}
        if redis_url is not None:
            self._redis = RedisStorage(
                redis_url,
                implementation="redispy",
                key_prefix=_PREFIX,
                socket_timeout=_TIMEOUT_SECONDS,
                socket_connect_timeout=_TIMEOUT_SECONDS,
            )
            self._shared = SlidingWindowCounterRateLimiter(self._redis)

    async def take(self, bucket: str, key: str, per_minute: int) -> Quota:
        """Counts one request, unless the minute's are used up."""
        return await self._measure(bucket, key, per_minute, counts=True)

    async def peek(self, bucket: str, key: str, per_minute: int) -> Quota:
        """What is left, without counting."""
        return await self._measure(bucket, key, per_minute, counts=False)

    @property
    def shared(self) -> bool:
        """True when a Redis is named, answering or not."""
        return self._redis is not None

    async def ping(self) -> None:
        """Returns when Redis answers, or when none is named. Raises DependencyUnavailable."""
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                if self._redis is not None:
                    await _client(self._redis).ping()
        except (RedisError, OSError, TimeoutError) as error:
            raise DependencyUnavailable(
                f"Redis does not answer ({type(error).__name__}); see that REDIS_URL names it."
            ) from error

    async def aclose(self) -> None:
        """Closes the connections to Redis."""
        if self._redis is not None:
            await _client(self._redis).aclose()

    async def _measure(self, bucket: str, key: str, per_minute: int, *, counts: bool) -> Quota:
        if self._shared is not None:
            # Few connections, kept busy: opening one takes several round trips, which a burst would pay together.
            async with self._connections:
                if self._clock() >= self._asked_again_at:
                    try:
                        async with asyncio.timeout(_TIMEOUT_SECONDS):
                            return await self._with(self._shared, bucket, key, per_minute, counts=counts)
                    except (RedisError, OSError, TimeoutError) as error:
                        self._pause(error)
        return await self._with(self._memory, bucket, key, per_minute, counts=counts)

    def _pause(self, error: Exception) -> None:
        if self._clock() >= self._asked_again_at:
            log.warning("rate_limit.redis.unavailable", reason=type(error).__name__, pause_seconds=_PAUSE_SECONDS)
        self._asked_again_at = self._clock() + _PAUSE_SECONDS

    async def _with(
        self, limiter: SlidingWindowCounterRateLimiter, bucket: str, key: str, per_minute: int, *, counts: bool
    ) -> Quota:
        item = RateLimitItemPerMinute(per_minute)
        allowed = await (limiter.hit if counts else limiter.test)(item, bucket, key)
        left = self._reckoned(bucket, key) if counts and allowed else None
        if left is None:
            reset_at, remaining = await limiter.get_window_stats(item, bucket, key)
            left = _Left(remaining if allowed else 0, reset_at, self._clock() + _RECKONING_SECONDS)
        if len(self._left) >= _MAX_REMEMBERED:
            self._left.clear()
        self._left[bucket, key] = left
        seconds = math.ceil(left.reset_at - time.time())
        return Quota(allowed=allowed, limit=per_minute, remaining=left.remaining, reset_seconds=min(60, max(1, seconds)))

    def _reckoned(self, bucket: str, key: str) -> _Left | None:
        """What is left by our own reckoning, which saves a round trip; None when it is time to ask, or little is left."""
        left = self._left.get((bucket, key))
        if left is None or left.until <= self._clock() or left.remaining <= _PLENTY:
            return None
        return left._replace(remaining=left.remaining - 1)
