"""The embedded Valkey (Redis protocol), with an append-only file.

Its configuration is a private file because a password on the command line is shown to every user of the machine.
"""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from workers.embedded.binaries import child_environment, valkey_binary
from workers.embedded.files import make_private, write_atomically
from workers.embedded.part import Part
from workers.embedded.ports import LOOPBACK


@dataclass(frozen=True)
class Valkey:
    """One server under `home/valkey`."""

    home: Path
    port: int
    password: SecretStr

    @property
    def url(self) -> str:
        """Connection address. The generated password needs no quoting."""
        return f"redis://:{self.password.get_secret_value()}@{LOOPBACK}:{self.port}/0"

    def prepare(self) -> None:
        """Write the configuration. Raises OSError."""
        directory = make_private(self.home / "valkey")
        lines = (
            f"bind {LOOPBACK}",
            f"port {self.port}",
            "protected-mode yes",
            f"requirepass {self.password.get_secret_value()}",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            # What it holds may be lost: caches, counters, live streams.
            "maxmemory 256mb",
            "maxmemory-policy allkeys-lru",
            "loglevel notice",
        )
        write_atomically(directory / "valkey.conf", "\n".join(lines) + "\n")

    def part(self) -> Part:
        """The server's process."""
        directory = self.home / "valkey"
        return Part(
            name="valkey",
            argv=(str(valkey_binary()), str(directory / "valkey.conf")),
            env=child_environment(),
            cwd=directory,
            ready=self._answers,
            addresses={"valkey": f"{LOOPBACK}:{self.port}"},
        )

    def _answers(self) -> bool:
        """PING over a plain socket (RESP): a client library would cost more memory than the server."""
        request = f"AUTH {self.password.get_secret_value()}\r\nPING\r\n".encode()
        answer = b""
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, self.port), timeout=0.5) as connection:
            connection.sendall(request)
            while answer.count(b"\r\n") < 2:
                received = connection.recv(256)
                if not received:
                    break
                answer += received
        return answer == b"+OK\r\n+PONG\r\n"
