"""A model provider reduced to its bill: it takes calls over a socket, uses what it likes, and keeps an invoice.

Runs as a process of its own (`python -m fakes.metered_provider SEED`), which prints its port. One JSON object a line each way.
What becomes of a call follows from the seed and the call's name, so that a run can be repeated.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

INPUT_MICROS, OUTPUT_MICROS = 3, 15


class Fate(StrEnum):
    ANSWER = "answer"
    """Billed and answered with usage."""
    FILTERED = "filtered"
    """Billed, with usage and without a text."""
    SILENT = "silent"
    """Billed and answered, but usage is not told."""
    BROKEN = "broken"
    """Billed, and the connection breaks before the answer."""
    REFUSED = "refused"
    """Not billed."""


FATES = {Fate.ANSWER: 84, Fate.FILTERED: 4, Fate.SILENT: 4, Fate.BROKEN: 4, Fate.REFUSED: 4}
OVERRUNS = 0.03
LONGEST_SECONDS = 0.03


@dataclass(frozen=True)
class Line:
    """What was billed for one call. `call` is the provider's own name for it, which no report tells."""

    key: str
    call: str
    input_tokens: int
    output_tokens: int

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def micros(self) -> int:
        return micros(self.input_tokens, self.output_tokens)


def micros(input_tokens: int, output_tokens: int) -> int:
    return input_tokens * INPUT_MICROS + output_tokens * OUTPUT_MICROS


class MeteredProvider:
    def __init__(self, seed: str) -> None:
        self.seed = seed
        self.invoice: list[Line] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                answer = await self._answer(json.loads(line))
                if answer is None:
                    break
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except ConnectionError:
            # The caller was killed: what it asked for is on the invoice all the same.
            pass
        finally:
            writer.close()

    async def _answer(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        if asked.get("invoice"):
            return {"lines": [asdict(line) for line in self.invoice]}
        draw = random.Random(f"{self.seed}/{asked['key']}/{asked['call']}")
        fate = draw.choices(list(FATES), list(FATES.values()))[0]
        await asyncio.sleep(draw.uniform(0, LONGEST_SECONDS))
        if fate is Fate.REFUSED:
            return {"fate": fate}
        read, wrote = draw.randint(1, asked["input"]), draw.randint(0, asked["output"])
        if draw.random() < OVERRUNS:
            wrote = asked["output"] + draw.randint(asked["input"], 4 * asked["input"])
        self.invoice.append(Line(asked["key"], asked["call"], read, wrote))
        await asyncio.sleep(draw.uniform(0, LONGEST_SECONDS))
        return None if fate is Fate.BROKEN else {"fate": fate, "input": read, "output": wrote}


async def ask(port: int, asked: dict[str, Any]) -> dict[str, Any]:
    """One call. Raises ConnectionError when the provider breaks off."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**26)
    try:
        writer.write(json.dumps(asked).encode() + b"\n")
        if not (line := await reader.readline()):
            raise ConnectionResetError("the provider broke off")
        return json.loads(line)
    finally:
        writer.close()


async def invoice(port: int) -> list[Line]:
    return [Line(**line) for line in (await ask(port, {"invoice": True}))["lines"]]


async def main() -> None:
    provider = MeteredProvider(sys.argv[1])
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
