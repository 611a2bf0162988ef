"""Answers on their way to readers: one Redis stream a request, bounded and short-lived.

The id of an entry is the place where its piece ends, `{attempt}-{characters}`. So a reader asks for what comes after its place
and nothing has to be looked up, and Redis itself refuses what an attempt adds that was overtaken by a later one.

Who writes never waits: pieces are queued here and one task sends what has gathered. What Redis does not take within a second,
and what comes when too much waits, is dropped: readers see that the next piece does not connect, and get the rest from the
journalled answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import structlog

from adapters.redis.connection import RedisAwayError, RedisConnection
from domain.token_streams import ENDED

KEPT_SECONDS: Final = 300
"""How long a stream outlives its last piece."""
LONGEST: Final = 4_096
"""Pieces of a stream, about; older ones are dropped."""
CHANNEL: Final = "somagent:tokens"
"""Names every stream that has something new."""
TEXT: Final = "text"
_WAITING: Final = 4_096
_BATCH: Final = 256
_FAREWELL_SECONDS: Final = 1.0

_log = structlog.get_logger("adapters.redis.token_streams")


def stream_key(tenant_id: str, request_id: str) -> str:
    """Where the answer to a request is."""
    return f"{tenant_id}:tokens:{request_id}"


class _Entry(NamedTuple):
    """A piece of a stream; without a text, its end."""

    key: str
    attempt: int
    end: int
    text: str


class RedisTokenStreams:
    """Implements `domain.ports.models.TokenStreams`. Belongs to one event loop."""

    def __init__(self, redis: RedisConnection, waiting: int = _WAITING) -> None:
        """At most so many pieces are `waiting` to be sent."""
        self._redis, self._most = redis, waiting
        self._waiting: deque[_Entry] = deque()
        self._sending: asyncio.Task[None] | None = None
        self._dropping = False

    async def append(self, tenant_id: str, request_id: str, attempt: int, start: int, text: str) -> None:
        """Adds a piece that moderation has passed. Returns at once."""
        if text:
            # Halves of surrogate pairs cannot be sent; whoever reads what stands there instead gets the answer anew.
            sent = text.encode(errors="replace").decode()
            self._put(_Entry(stream_key(tenant_id, request_id), attempt, start + len(text), sent))

    async def end(self, tenant_id: str, request_id: str, attempt: int) -> None:
        """This attempt adds nothing more. Returns at once."""
        self._put(_Entry(stream_key(tenant_id, request_id), attempt, ENDED, ""))

    async def aclose(self) -> None:
        """Sends what still waits, for a second at most."""
        if self._sending is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FAREWELL_SECONDS):
                    await self._sending

    def _put(self, entry: _Entry) -> None:
        if len(self._waiting) >= self._most:
            if not self._dropping:
                _log.warning("token_streams.dropped", waiting=self._most)
            self._dropping = True
            return
        self._waiting.append(entry)
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send(), name="token-streams")

    async def _send(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            with contextlib.suppress(RedisAwayError):
                await self._redis.run(lambda client, batch=batch: _write(client, batch))
        self._dropping = False


async def _write(client: Any, batch: Sequence[_Entry]) -> None:
    async with client.pipeline(transaction=False) as pipe:
        for entry in batch:
            fields = {TEXT: entry.text}
            pipe.xadd(entry.key, fields, id=f"{entry.attempt}-{entry.end}", maxlen=LONGEST, approximate=True)
        for key in dict.fromkeys(entry.key for entry in batch):
            pipe.expire(key, KEPT_SECONDS)
            pipe.publish(CHANNEL, key)
        # What is refused was overtaken by a later attempt, or its stream cannot be had: either is for readers to notice.
        await pipe.execute(raise_on_error=False)
