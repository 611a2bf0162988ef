"""Model calls of one tenant through the gateway, and of many at once."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.http_connection import Connections
from benchmarks.load import Start
from benchmarks.slm_servers import Bench

WORDS: Final = 20
"""Of a prompt of the usual size."""
_ENDED: Final = frozenset({"completed", "denied", "failed", "cancelled", "unknown"})
_TEXT: Final = "please read the plan of the pump station and tell me which of its valves has to be inspected first and how"
_LETTERS: Final = str.maketrans("0123456789", "ghijklmnop")


def prompt(name: str, words: int) -> str:
    """So many words, the first of which is `name`; no two prompts are the same."""
    text = itertools.islice(itertools.cycle(_TEXT.split()), words - 2)
    return " ".join([name, uuid.uuid4().hex.translate(_LETTERS), *text])


@dataclass(frozen=True)
class Caller:
    """One tenant's way to the gateway. Every call is a completion of a prompt of so many words that begins with `name`."""

    gateway: Connections
    token: str
    name: str
    model: str
    words: int = WORDS
    lane: str = "interactive"

    @classmethod
    def of(cls, bench: Bench, tenant: str, name: str, model: str, **more: Any) -> Caller:
        """A tenant of the benchmark."""
        return cls(bench.gateway, bench.servers.tokens[tenant], name, model, **more)

    async def complete(self) -> None:
        """One call, answered. Raises RuntimeError when it does not end well."""
        view = await self._post("/v1/slm/complete", {}, (200, 202))
        while view["status"] not in _ENDED:
            path, headers = f"/v1/slm/requests/{view['request_id']}", {**self._headers(), "Prefer": "wait=30"}
            view = self._read(await self.gateway.ask("GET", path, b"", headers), (200,))
        if view["status"] != "completed":
            raise RuntimeError(f"The call ended as {view['status']}: {view['error']}")

    async def queue(self, *, stream: bool = False) -> str:
        """Queues a call that may wait for a day: its id."""
        queued = await self._post("/v1/slm/requests", {"deadline_seconds": 86_400, "stream": stream}, (202,))
        return queued["request_id"]

    async def first_text(self) -> float:
        """Seconds until the first text of a streamed call; returns once the stream has ended."""
        begun, first = time.perf_counter(), None
        request_id = await self.queue(stream=True)
        async for text in _texts(self.gateway.stream(f"/v1/slm/requests/{request_id}/stream", self._headers())):
            if text and first is None:
                first = time.perf_counter() - begun
        if first is None:
            raise RuntimeError("The stream ended without a text.")
        return first

    async def _post(self, path: str, more: dict[str, Any], expected: tuple[int, ...]) -> dict[str, Any]:
        asked = {"prompt": prompt(self.name, self.words), "model": self.model, "lane": self.lane, "max_output_tokens": 256}
        headers = {**self._headers(), "Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}
        return self._read(await self.gateway.ask("POST", path, json.dumps(asked | more).encode(), headers), expected)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def _read(self, answer: tuple[int, bytes], expected: tuple[int, ...]) -> dict[str, Any]:
        status, body = answer
        if status not in expected:
            raise RuntimeError(f"The gateway answered {status}: {body.decode(errors='replace')}")
        return json.loads(body)


async def _texts(lines: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """What the `delta` events of a stream say."""
    kind = b""
    async for line in lines:
        name, _, value = line.partition(b": ")
        if name == b"event":
            kind = value
        elif name == b"data" and kind == b"delta":
            yield json.loads(value)["text"]


def completing(caller: Caller) -> Start:
    """Calls that are answered."""

    async def start() -> None:
        await caller.complete()

    return start


async def queue_many(caller: Caller, count: int, at_once: int = 20) -> None:
    """Queues so many calls."""
    left = iter(range(count))

    async def one_after_another() -> None:
        for _ in left:
            await caller.queue()

    async with asyncio.TaskGroup() as group:
        for _ in range(min(at_once, count)):
            group.create_task(one_after_another())
