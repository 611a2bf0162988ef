"""One way to talk to Redis: every wait is bounded, and after a failure it is left alone for a pause.

So its absence costs one bounded wait now and then, and not one a call. Who calls then does without: Redis holds only what may
be lost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar, cast

import structlog
from redis import asyncio as redis_asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

PAUSE_SECONDS: Final = 5.0
TIMEOUT_SECONDS: Final = 1.0
_CONNECTIONS: Final = 8

_log = structlog.get_logger("adapters.redis")
Answer = TypeVar("Answer")


class RedisAwayError(Exception):
    """No Redis is named, or it does not answer, or it did not just now."""


class RedisConnection:
    """A few connections to one Redis. Belongs to one event loop."""

    def __init__(self, url: str | None, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`name` is for the log. `clock` times the pause, in seconds. Without a `url` Redis is always away."""
        self._name = name
        self._clock = clock
        self._asked_again_at = 0.0
        self._turns = asyncio.Semaphore(_CONNECTIONS)
        # The library has no complete annotations.
        self._client: Any = _client(url) if url else None

    @property
    def away(self) -> bool:
        """Whether it would not be asked now."""
        return self._client is None or self._clock() < self._asked_again_at

    async def run(self, work: Callable[[Any], Awaitable[Answer]]) -> Answer:
        """What the work with the client returns; it may run for a second. Raises RedisAwayError."""
        # Few connections, kept busy: opening one takes several round trips, which a burst would pay together.
        async with self._turns:
            if self.away:
                raise RedisAwayError
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    return await work(self._client)
            except (RedisError, OSError, TimeoutError) as error:
                self._pause(error)
                raise RedisAwayError from error

    async def listen(self, channel: str, hear: Callable[[str | None], None]) -> None:
        """Hands on what is published there, until that fails; first None, once it is listened to. Raises RedisAwayError."""
        if self.away:
            raise RedisAwayError
        try:
            async with self._client.pubsub() as pubsub:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    await pubsub.subscribe(channel)
                async for message in pubsub.listen():
                    hear(message["data"] if message["type"] == "message" else None)
        except (RedisError, OSError, TimeoutError) as error:
            raise RedisAwayError from error

    async def aclose(self) -> None:
        """Closes the connections."""
        if self._client is not None:
            await self._client.aclose()

    def _pause(self, error: Exception) -> None:
        if not self.away:
            _log.warning("redis.away", of=self._name, reason=type(error).__name__, pause_seconds=PAUSE_SECONDS)
        self._asked_again_at = self._clock() + PAUSE_SECONDS


def _client(url: str) -> Any:
    return cast("Any", redis_asyncio.Redis).from_url(
        url,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        decode_responses=True,
        # Once, and at once: a connection may have died unnoticed while it was not used.
        retry=Retry(NoBackoff(), 1),
    )
