"""One HTTP/1.1 connection kept alive, with next to no cost of its own: the machine is to be busy with what is measured."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Self


@dataclass
class Connection:
    """Sends one request at a time. Reads answers with a Content-Length only, which is what the gateway sends."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def open(cls, port: int) -> Self:
        """Connects to a loopback port. Raises OSError."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def post(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """Status and body of the answer."""
        lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        head = await self.reader.readuntil(b"\r\n\r\n")
        first, *fields = head.decode("latin-1").split("\r\n")
        lengths = [field for field in fields if field.lower().startswith("content-length:")]
        if len(lengths) != 1:
            raise RuntimeError("The answer has no Content-Length.")
        length = int(lengths[0].partition(":")[2])
        return int(first.split(" ")[1]), await self.reader.readexactly(length)

    @property
    def ended(self) -> bool:
        """Whether the server has closed it, as it does to one that was idle."""
        return self.reader.at_eof()

    async def close(self) -> None:
        """Ends it."""
        self.writer.close()
        await self.writer.wait_closed()
