"""A network that breaks: a TCP proxy on loopback that cuts each connection after so many bytes of what the server sends.

`async with CuttingProxy(port, cuts=iter([900, 1200])) as proxy: proxy.port, proxy.cut`. Once `cuts` is used up it cuts no more.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from types import TracebackType
from typing import Self


class CuttingProxy:
    """`cut` counts the connections it broke."""

    def __init__(self, upstream: int, cuts: Iterator[int]) -> None:
        self._upstream, self._cuts = upstream, cuts
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.port = self.cut = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        above, below = await asyncio.open_connection("127.0.0.1", self._upstream)
        sending = asyncio.create_task(self._pass(reader, below, None))
        try:
            await self._pass(above, writer, next(self._cuts, None))
        finally:
            sending.cancel()
            for end in (writer, below):
                end.transport.abort()
            self._connections.discard(task)

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, limit: int | None) -> None:
        left = limit
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                target.write(data if left is None else data[:left])
                await target.drain()
                if left is not None:
                    left -= len(data)
                    if left <= 0:
                        self.cut += 1
                        return
