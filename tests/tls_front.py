"""TLS before a server that has none: takes it off, looks at clients' certificates and passes the bytes on."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from certificates import ServerFiles


@asynccontextmanager
async def tls_front(upstream: int, files: ServerFiles, *protocols: str, mutual: bool = True) -> AsyncIterator[int]:
    """The port it listens on; `protocols` are named in the handshake (ALPN)."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(files.authority))
    context.load_cert_chain(files.certificate, files.key)
    context.verify_mode = ssl.CERT_REQUIRED if mutual else ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    passing: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        passing.add(task)
        above, below = await asyncio.open_connection("127.0.0.1", upstream)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_pass(reader, below))
                both.create_task(_pass(above, writer))
        finally:
            passing.discard(task)
            for end in (writer, below):
                end.transport.abort()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in passing:
            task.cancel()
        await asyncio.gather(*passing, return_exceptions=True)


async def _pass(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    with contextlib.suppress(ConnectionError, ssl.SSLError, RuntimeError, OSError):
        target.close()
