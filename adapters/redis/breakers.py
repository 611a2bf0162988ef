"""Circuit breakers shared by all processes of an installation.

A circuit is one value in Redis, changed by comparing and setting: the rule stands in `domain.breaker` alone. What surprises:
the clock is Redis's, so that machines whose clocks differ agree. While Redis is away this process keeps circuits of its own,
and where it was emptied all are closed: a dead provider is then found out again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from pydantic import ValidationError

from adapters.redis.connection import RedisAwayError, RedisConnection
from domain import breaker
from domain.breaker import BreakerRule, Circuit
from domain.names import SYSTEM_TENANT
from domain.ports.models import BreakerState

_TRIES: Final = 8
_SET = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1
"""
Change = Callable[[Circuit, float], Circuit | None]
"""A circuit and the time make another one; None leaves it as it is."""


class RedisBreakers:
    """Implements `domain.ports.models.Breakers`."""

    def __init__(
        self,
        redis: RedisConnection,
        region: str,
        rule: BreakerRule | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`region` is where this process runs: what cannot be reached from here may be reached from elsewhere.

        `clock` is for the circuits kept in memory.
        """
        self._redis, self._region = redis, region
        self._rule = rule or BreakerRule()
        self._clock = clock
        self._own: dict[str, Circuit] = {}

    async def state(self, provider: str) -> BreakerState:
        """Whether it may be asked now. A half-open breaker gives `probe` to one caller at a time."""
        _, seen, changed = await self._change(provider, lambda circuit, now: breaker.probed(self._rule, circuit, now))
        return BreakerState(open=not seen.closed, probe=changed)

    async def is_open(self, provider: str) -> bool:
        """Whether it is open now; takes no probe. Once its pause is over it is not, so that somebody goes and probes."""
        now, circuit, _ = await self._change(provider, _nothing)
        return breaker.is_open(circuit, now)

    async def succeeded(self, provider: str) -> None:
        """It answered."""
        await self._change(provider, lambda circuit, _: breaker.succeeded() if circuit != Circuit() else None)

    async def failed(self, provider: str) -> None:
        """It timed out, was overloaded or could not be reached."""
        await self._change(provider, lambda circuit, now: breaker.failed(self._rule, circuit, now))

    async def _change(self, provider: str, change: Change) -> tuple[float, Circuit, bool]:
        """The time, the circuit as it was found, and whether it was changed."""
        try:
            return await self._shared(provider, change)
        except RedisAwayError:
            now = self._clock()
            circuit = breaker.remembered(self._rule, self._own.get(provider, Circuit()), now)
            changed = change(circuit, now)
            self._own[provider] = changed if changed is not None else circuit
            return now, circuit, changed is not None

    async def _shared(self, provider: str, change: Change) -> tuple[float, Circuit, bool]:
        key = f"{SYSTEM_TENANT}:breaker:{self._region}:{provider}"
        now, circuit = 0.0, Circuit()
        for _ in range(_TRIES):
            now, held = await self._redis.run(partial(_look, key=key))
            circuit = breaker.remembered(self._rule, _circuit(held), now)
            changed = change(circuit, now)
            if changed is None:
                return now, circuit, False
            if await self._replaced(key, held, changed):
                return now, circuit, True
        # So many changed it at once that one more or less does not matter.
        return now, circuit, False

    async def _replaced(self, key: str, held: str, changed: Circuit) -> bool:
        """Sets the circuit, unless another process did in the meantime."""
        arguments = key, held, _text(changed), round(self._rule.memory * 1000)
        return bool(await self._redis.run(lambda client: client.eval(_SET, 1, *arguments)))


def _nothing(_: Circuit, __: float) -> None:
    """Only looks."""


async def _look(client: Any, key: str) -> tuple[float, str]:
    async with client.pipeline(transaction=False) as pipe:
        pipe.time()
        pipe.get(key)
        (seconds, micros), held = await pipe.execute()
    return seconds + micros / 1_000_000, held or ""


def _circuit(held: str) -> Circuit:
    try:
        return Circuit.model_validate_json(held) if held else Circuit()
    except ValidationError:
        return Circuit()


def _text(circuit: Circuit) -> str:
    return "" if circuit == Circuit() else circuit.model_dump_json()
