"""HTTP/1.1 over connections kept alive, with next to no cost of its own: the machine is to be busy with what is measured."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

Answer = tuple[int, bytes]
"""Status and body."""


@dataclass
class Connection:
    """Sends one request at a time. Reads answers with a Content-Length, and streams in chunks: what the gateway sends."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def open(cls, port: int) -> Self:
        """Connects to a loopback port. Raises OSError."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Status and body of the answer."""
        self._send(method, path, body, headers)
        status, fields = await self._head()
        if "content-length" not in fields:
            raise RuntimeError("The answer has no Content-Length.")
        return status, await self.reader.readexactly(int(fields["content-length"]))

    async def stream(self, path: str, headers: Mapping[str, str]) -> AsyncGenerator[bytes]:
        """The lines of an answer in chunks, as they come, to its end. Raises RuntimeError for any other answer."""
        self._send("GET", path, b"", headers)
        status, fields = await self._head()
        if status != 200 or fields.get("transfer-encoding") != "chunked":
            body = await self.reader.readexactly(int(fields.get("content-length", "0")))
            raise RuntimeError(f"The gateway answered {status} instead of a stream: {body.decode(errors='replace')}")
        left = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            *lines, left = (left + (await self.reader.readexactly(size + 2))[:-2]).split(b"\n")
            for line in lines:
                yield line.rstrip(b"\r")
        await self.reader.readexactly(2)

    def _send(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> None:
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    async def _head(self) -> tuple[int, dict[str, str]]:
        """Status and fields, their names in lower case."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        first, *fields = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in fields if line)
        return int(first.split(" ")[1]), {name.lower(): value.strip() for name, _, value in pairs}

    @property
    def ended(self) -> bool:
        """Whether the server has closed it, as it does to one that was idle."""
        return self.reader.at_eof()

    async def close(self) -> None:
        """Ends it."""
        self.writer.close()
        await self.writer.wait_closed()


@dataclass
class Connections:
    """As many connections to one port as are in use at once."""

    port: int
    idle: list[Connection] = field(default_factory=list[Connection])

    async def ask(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Status and body of the answer. The request must be one that may be sent twice."""
        used = await self._take()
        try:
            answer = await used.ask(method, path, body, headers)
        except (asyncio.IncompleteReadError, ConnectionError):
            # The server ended an idle connection just then.
            used = await Connection.open(self.port)
            answer = await used.ask(method, path, body, headers)
        self.idle.append(used)
        return answer

    async def stream(self, path: str, headers: Mapping[str, str]) -> AsyncIterator[bytes]:
        """The lines of a stream; its connection is used again once it has come to its end."""
        used = await self._take()
        async with aclosing(used.stream(path, headers)) as lines:
            async for line in lines:
                yield line
        self.idle.append(used)

    async def _take(self) -> Connection:
        while self.idle:
            found = self.idle.pop()
            if not found.ended:
                return found
            await found.close()
        return await Connection.open(self.port)

    async def close(self) -> None:
        """Ends those that are not in use."""
        for left in self.idle:
            await left.close()


@asynccontextmanager
async def connections(port: int) -> AsyncGenerator[Connections]:
    """Connections to a loopback port, ended with the block."""
    made = Connections(port)
    try:
        yield made
    finally:
        await made.close()
