"""A network link that can be cut: a TCP proxy on loopback that drops every connection and takes no other while it is broken.

`async with BreakableLink(port) as link: link.port; link.cut(); link.mend()`.
"""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self


class BreakableLink:
    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._broken = False
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def cut(self) -> None:
        """Nothing passes from now on."""
        self._broken = True
        for task in self._connections:
            task.cancel()

    def mend(self) -> None:
        """New connections pass again."""
        self._broken = False

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        ends = [writer]
        try:
            if not self._broken:
                above, below = await asyncio.open_connection("127.0.0.1", self._upstream)
                ends.append(below)
                await asyncio.gather(_pass(reader, below), _pass(above, writer))
        finally:
            for end in ends:
                end.transport.abort()
            self._connections.discard(task)


async def _pass(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    target.close()
