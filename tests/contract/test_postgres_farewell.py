"""A server that says goodbye to an idle connection before it hangs up: the driver's own state breaks, not only the connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from adapters.postgres.connection import create_pool, plain_transaction
from domain.errors import DependencyUnavailable
from workers.embedded.stack import EmbeddedStack


@asynccontextmanager
async def lingering_proxy(port: int) -> AsyncIterator[tuple[int, asyncio.Event]]:
    """A port that passes everything on to `port`, and keeps the client's connection open when the server hangs up.

    The event is set once it has, and all that it said has been passed on.
    """
    ends: list[asyncio.StreamWriter] = []
    hung_up = asyncio.Event()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        hung_up.set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        ends.extend((writer, far_writer))
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer), return_exceptions=True)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], hung_up
    finally:
        server.close()
        for end in ends:
            end.transport.abort()


async def test_a_connection_the_server_said_goodbye_to_is_unavailable_and_then_replaced(stack: EmbeddedStack) -> None:
    url = stack.environment["DATABASE_URL"]
    port = urlsplit(url).port
    assert port is not None
    async with lingering_proxy(port) as (listening, hung_up):
        pool = await create_pool(url.replace(f":{port}/", f":{listening}/"), 1)
        other = await create_pool(url, 1)
        try:
            async with plain_transaction(pool) as connection:
                backend = await connection.fetchval("SELECT pg_backend_pid()")
            async with plain_transaction(other) as connection:
                assert await connection.fetchval("SELECT pg_terminate_backend($1, 5000)", backend)

            async def used() -> None:
                async with plain_transaction(pool):
                    pass

            await hung_up.wait()
            # Loopback has delivered it; the driver reads it in the loop's next rounds.
            for _ in range(3):
                await asyncio.sleep(0)
            with pytest.raises(DependencyUnavailable, match="InternalClientError"):
                await used()
            await used()
        finally:
            pool.terminate()
            other.terminate()
