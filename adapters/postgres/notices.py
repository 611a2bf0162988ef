"""Hears that something was written to the outbox: one LISTEN connection for all who wait in this process.

A notice only makes a reader look sooner. While the connection is down, or where a pooler in between does not pass notices on,
readers look again every second, and nothing else changes.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import structlog

from adapters.postgres.connection import Connection, connect, mapped_errors
from domain.errors import DependencyUnavailable

CHANNEL: Final = "outbox"
LOOK_AGAIN_SECONDS: Final = 1.0
_ALIVE_SECONDS: Final = 5.0
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0

_log = structlog.get_logger("adapters.postgres.notices")


class Notices:
    """Counts notices and wakes those who wait. Belongs to one event loop; connects when it is first waited for."""

    def __init__(self, url: str) -> None:
        """`url` is a connection address of any role."""
        self._url: Final = url
        self._count = 0
        self._wake = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None

    @property
    def count(self) -> int:
        """Notices so far."""
        return self._count

    async def wait(self, timeout_seconds: float, seen: int | None = None) -> None:
        """Returns on the next notice, at once when there were more than `seen`, or after that time, a second at most."""
        if self._listening is None or self._listening.done():
            self._listening = asyncio.create_task(self._listen(), name="outbox-notices")
        if seen is not None and seen != self._count:
            return
        wake = self._wake
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(timeout_seconds, LOOK_AGAIN_SECONDS)):
                await wake.wait()

    async def close(self) -> None:
        """Drops the connection."""
        task, self._listening = self._listening, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _hear(self, *_: object) -> None:
        self._count += 1
        wake, self._wake = self._wake, asyncio.Event()
        wake.set()

    async def _listen(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            heard = self._count
            try:
                await self._hold(await connect(self._url, "somagent-notices"))
            except DependencyUnavailable as error:
                pause = _FIRST_PAUSE if self._count > heard else min(pause * 2, _LONGEST_PAUSE)
                _log.warning("notices.lost", reason=error.detail, again_in_seconds=pause)
            await asyncio.sleep(pause)

    async def _hold(self, connection: Connection) -> None:
        """Listens until the connection is lost, which raises DependencyUnavailable."""
        closed = asyncio.Event()
        connection.add_termination_listener(lambda *_: closed.set())
        try:
            with mapped_errors():
                await connection.add_listener(CHANNEL, self._hear)
                # Whatever was written while nobody listened.
                self._hear()
                while True:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_ALIVE_SECONDS):
                            await closed.wait()
                    await connection.fetchval("SELECT 1")
        finally:
            connection.terminate()
