"""Reads answers on their way: one subscription wakes all readers of this process, and each then looks at its own stream.

A notice only makes a reader look sooner: without one it looks again every second.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator
from typing import Any, Final

from adapters.redis.connection import RedisAwayError, RedisConnection
from adapters.redis.token_streams import CHANNEL, TEXT, stream_key
from domain.token_streams import ENDED, Place, TokenPiece

LOOK_AGAIN_SECONDS: Final = 1.0
_PAGE: Final = 64


class RedisTokenReads:
    """Implements `domain.ports.models.TokenReads`. Belongs to one event loop; subscribes when first somebody waits."""

    def __init__(self, redis: RedisConnection) -> None:
        """One connection more than those of `redis` is held while somebody reads."""
        self._redis = redis
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._listening: asyncio.Task[None] | None = None

    async def read(self, tenant_id: str, request_id: str, after: Place, wait_seconds: float) -> tuple[TokenPiece, ...]:
        """The next pieces, in order; none when none came within that time, which while Redis is away is so."""
        key = stream_key(tenant_id, request_id)
        clock = asyncio.get_running_loop().time
        deadline = clock() + wait_seconds
        with self._woken(key) as wake:
            while True:
                wake.clear()
                found = await self._look(key, after)
                left = deadline - clock()
                if found or left <= 0:
                    return found
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(left, LOOK_AGAIN_SECONDS)):
                        await wake.wait()

    async def aclose(self) -> None:
        """Ends the subscription."""
        task, self._listening = self._listening, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _look(self, key: str, after: Place) -> tuple[TokenPiece, ...]:
        since = f"({after.attempt}-{after.characters}"
        try:
            entries = await self._redis.run(lambda client: client.xrange(key, min=since, count=_PAGE))
        except RedisAwayError:
            return ()
        return tuple(_piece(entry, fields) for entry, fields in entries)

    @contextlib.contextmanager
    def _woken(self, key: str) -> Generator[asyncio.Event]:
        """An event that is set by a notice of that stream."""
        if self._listening is None or self._listening.done():
            self._listening = asyncio.create_task(self._listen(), name="token-reads")
        wake = asyncio.Event()
        self._waiting.setdefault(key, set()).add(wake)
        try:
            yield wake
        finally:
            self._waiting[key].discard(wake)
            if not self._waiting[key]:
                del self._waiting[key]

    async def _listen(self) -> None:
        """Passes notices on until the subscription is lost; whoever reads a second later or more makes another."""
        with contextlib.suppress(RedisAwayError):
            await self._redis.listen(CHANNEL, self._hear)
        await asyncio.sleep(LOOK_AGAIN_SECONDS)

    def _hear(self, key: str | None) -> None:
        """Wakes who reads that stream, or everybody: there may have been notices that nobody heard."""
        waiting = self._waiting.values() if key is None else [self._waiting.get(key, set[asyncio.Event]())]
        for wakes in waiting:
            for wake in wakes:
                wake.set()


def _piece(entry: str, fields: dict[str, Any]) -> TokenPiece:
    attempt, _, end = entry.partition("-")
    text: str = fields.get(TEXT, "")
    ended = int(end) == ENDED
    return TokenPiece(attempt=int(attempt), start=0 if ended else int(end) - len(text), text=text, ended=ended)
