"""The lease: what this process knows of the kill switches, asked for three times a second on a connection of its own.

An answer counts for a second from before it was asked for, by a clock that goes on while the process is stopped. A notice makes
the next question come sooner and never extends anything. What cannot be asked, or is late, is a refusal.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import asyncpg
import structlog

from adapters.postgres.connection import Connection, connect, mapped_errors
from domain.errors import DependencyUnavailable, KillSwitchUnreadable, StoppedByKillSwitch
from domain.kill_switches import LEASE_SECONDS, Act, EngagedSwitch, means

CHANNEL: Final = "kill_switches"
_EVERY_SECONDS: Final = LEASE_SECONDS / 3
_LONGEST_PAUSE: Final = 2.0
_SELECT: Final = """
WITH tenant AS MATERIALIZED (SELECT set_config('app.tenant', 'system', true) AS tenant_id)
SELECT found.* FROM tenant CROSS JOIN LATERAL (
    SELECT switch_id, scope, value, target_tenant FROM kill_switches
    WHERE tenant.tenant_id IS NOT NULL AND released_at IS NULL AND (expires_at IS NULL OR expires_at > clock_timestamp())
    ORDER BY engaged_at OFFSET 0
) AS found
"""

log = structlog.get_logger("adapters.kill_switches")


def boot_seconds() -> float:
    """Seconds since the machine was started, those it was suspended for included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class _Known(NamedTuple):
    until: float
    switches: tuple[EngagedSwitch, ...]


class PostgresLease:
    """Implements `Lease` while its block runs."""

    def __init__(self, url: str, clock: Callable[[], float] = boot_seconds) -> None:
        """`url` connects as the application's role; `clock` counts seconds."""
        self._url, self._clock = url, clock
        self._known = _Known(0.0, ())
        self._soon, self._answered = asyncio.Event(), asyncio.Event()
        self._renewing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to renew, and returns once there is a first answer, or after a second without one."""
        self._renewing = asyncio.create_task(self._renew(), name="kill-switch-lease")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEASE_SECONDS):
                await self._answered.wait()

    async def aclose(self) -> None:
        """Stops renewing: the lease runs out."""
        task, self._renewing = self._renewing, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def check(self, act: Act) -> None:
        """Returns when the act may begin now. Raises StoppedByKillSwitch, KillSwitchUnreadable."""
        known = self._known
        if not self._live():
            raise KillSwitchUnreadable("Which kill switches are engaged cannot be read just now, so nothing is begun; try again.")
        switch = next((switch for switch in known.switches if means(switch, act)), None)
        if switch is not None:
            what = f"{switch.scope.value} {switch.value}" if switch.value else switch.scope.value
            raise StoppedByKillSwitch(
                f"The kill switch {switch.switch_id} ({what}) is engaged; an operator must release it.",
                switch_id=switch.switch_id,
                scope=switch.scope.value,
            )

    async def ready(self, seconds: float) -> None:
        """Returns once the lease is live, or after that time."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not self._live() and (left := deadline - asyncio.get_running_loop().time()) > 0:
            self._answered.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._answered.wait()

    def _live(self) -> bool:
        return self._clock() < self._known.until

    async def _renew(self) -> None:
        pause = _EVERY_SECONDS
        while True:
            try:
                connection = await connect(self._url, "somagent-kill-switches")
                try:
                    with mapped_errors():
                        await connection.add_listener(CHANNEL, lambda *_: self._soon.set())
                        pause = _EVERY_SECONDS
                        await self._hold(connection)
                finally:
                    connection.terminate()
            except (DependencyUnavailable, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
                # Also an answer that makes no sense: who stops asking would refuse everything until it is started again.
                reason = error.detail if isinstance(error, DependencyUnavailable) else type(error).__name__
                log.warning("kill_switches.unreadable", reason=reason, again_in_seconds=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _hold(self, connection: Connection) -> None:
        """Asks again and again. Raises DependencyUnavailable when an answer does not come within a lease."""
        while True:
            asked = self._clock()
            self._soon.clear()
            async with asyncio.timeout(LEASE_SECONDS):
                rows = await connection.fetch(_SELECT)
            names = EngagedSwitch.model_fields
            switches = tuple(EngagedSwitch.model_validate({name: row[name] for name in names}) for row in rows)
            self._known = _Known(asked + LEASE_SECONDS, switches)
            self._answered.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_EVERY_SECONDS):
                    await self._soon.wait()
