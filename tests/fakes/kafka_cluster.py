"""A Kafka broker for tests: librdkafka's own mock cluster, in a process of its own, behind a TCP proxy on a fixed port.

It speaks the real protocol (idempotent produce, consumer groups) but keeps all in memory and cannot make topics on request, so
they are made at the start. The proxy gives outages: `down` refuses connections, `stall` accepts them and says nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import confluent_kafka

PRODUCE = 0
"""Kafka's API key of produce requests."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class KafkaCluster:
    """One broker; `with KafkaCluster({"session.events": 3}) as kafka: kafka.bootstrap`. Its methods block briefly."""

    def __init__(self, topics: Mapping[str, int]) -> None:
        self._topics = topics
        self.port = free_port()
        self._process: subprocess.Popen[str] | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def down(self) -> None:
        """Every connection breaks and none is accepted."""
        self._tell("down")

    def stall(self) -> None:
        """Connections stay and are accepted, and nothing passes any more."""
        self._tell("stall")

    def up(self) -> None:
        """It works again; what was produced is still there."""
        self._tell("up")

    def refuse(self, *errors: int, request: int = PRODUCE) -> None:
        """The next requests of that kind are answered with these error codes."""
        self._tell(f"refuse {request} {' '.join(map(str, errors))}")

    def __enter__(self) -> Self:
        topics = [f"{name}:{partitions}" for name, partitions in self._topics.items()]
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), str(self.port), *topics],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process is not None
        # The end of its input is the end of the process.
        self._process.communicate(timeout=10)

    def _tell(self, command: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        self._answer()

    def _answer(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        answer = self._process.stdout.readline().strip()
        if answer != "ok":
            raise RuntimeError(f"the fake broker said {answer!r}")


class _Mock:
    """The library's cluster. Declarations are those of rdkafka.h and rdkafka_mock.h."""

    def __init__(self, port: int, topics: Mapping[str, int]) -> None:
        found = Path(confluent_kafka.__file__).parent.parent.glob("confluent_kafka.libs/librdkafka-*.so*")
        library = ctypes.CDLL(str(next(found)))
        pointer = ctypes.c_void_p
        library.rd_kafka_conf_new.restype = pointer
        library.rd_kafka_new.restype = pointer
        library.rd_kafka_new.argtypes = [ctypes.c_int, pointer, ctypes.c_char_p, ctypes.c_size_t]
        library.rd_kafka_conf_set.argtypes = [pointer, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t]
        library.rd_kafka_mock_cluster_new.restype = pointer
        library.rd_kafka_mock_cluster_new.argtypes = [pointer, ctypes.c_int]
        library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        library.rd_kafka_mock_cluster_bootstraps.argtypes = [pointer]
        library.rd_kafka_mock_topic_create.argtypes = [pointer, ctypes.c_char_p, ctypes.c_int, ctypes.c_int]
        library.rd_kafka_mock_broker_set_host_port.argtypes = [pointer, ctypes.c_int32, ctypes.c_char_p, ctypes.c_int]
        library.rd_kafka_mock_push_request_errors_array.argtypes = [
            pointer,
            ctypes.c_int16,
            ctypes.c_size_t,
            ctypes.POINTER(ctypes.c_int),
        ]
        reason = ctypes.create_string_buffer(512)
        config = library.rd_kafka_conf_new()
        library.rd_kafka_conf_set(config, b"log_level", b"2", reason, 512)
        handle = library.rd_kafka_new(0, config, reason, 512)
        if not handle:
            raise RuntimeError(reason.value.decode())
        self._library: Any = library
        self._cluster = library.rd_kafka_mock_cluster_new(handle, 1)
        host, _, real = library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode().partition(":")
        self.address = (host, int(real))
        for name, partitions in topics.items():
            library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1)
        # Clients are sent to the proxy from then on.
        library.rd_kafka_mock_broker_set_host_port(self._cluster, 1, b"127.0.0.1", port)

    def refuse(self, request: int, errors: list[int]) -> None:
        codes = (ctypes.c_int * len(errors))(*errors)
        self._library.rd_kafka_mock_push_request_errors_array(self._cluster, request, len(errors), codes)


class _Proxy:
    def __init__(self, port: int, target: tuple[str, int]) -> None:
        self._port = port
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def up(self) -> None:
        self._flowing.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)

    async def down(self) -> None:
        self._flowing.set()
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.transport.abort()

    def stall(self) -> None:
        self._flowing.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            self._writers |= {writer, far_writer}
            try:
                await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
            finally:
                self._writers -= {writer, far_writer}
                writer.transport.abort()
                far_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._flowing.wait()
            writer.write(data)
            await writer.drain()
        writer.close()


async def _obey(line: str, mock: _Mock, proxy: _Proxy) -> None:
    match line.split():
        case ["up"]:
            await proxy.up()
        case ["down"]:
            await proxy.down()
        case ["stall"]:
            proxy.stall()
        case ["refuse", request, *errors]:
            mock.refuse(int(request), [int(error) for error in errors])
        case _:
            raise ValueError(f"unknown command: {line}")


async def _main(port: int, topics: Mapping[str, int]) -> None:
    mock = _Mock(port, topics)
    proxy = _Proxy(port, mock.address)
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    await proxy.up()
    sys.stdout.write("ok\n")
    sys.stdout.flush()
    while line := (await commands.readline()).decode():
        await _obey(line, mock, proxy)
        sys.stdout.write("ok\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), {name: int(count) for name, _, count in (word.rpartition(":") for word in sys.argv[2:])}))
