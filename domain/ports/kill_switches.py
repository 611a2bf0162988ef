"""Kill switches: their rows, what a process knows of them, and the runs they stop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Protocol

from domain.base import UtcTime
from domain.kill_switches import (
    Act,
    EnforceCall,
    EngagedSwitch,
    KillSwitchInput,
    KillSwitchState,
    KillSwitchStatement,
    KillSwitchView,
    ReleaseCall,
    RunQuery,
    RunRef,
)


class Lease(Protocol):
    """What this process knows of the switches, for a second at most."""

    def check(self, act: Act) -> None:
        """Returns when the act may begin now. Raises StoppedByKillSwitch, and KillSwitchUnreadable without a live lease."""
        ...

    async def ready(self, seconds: float) -> None:
        """Returns once there is a live lease, or after that time: an answer may be late by a moment."""
        ...


class KillSwitchStore(Protocol):
    """Rows of switches, each change with its event. Every method raises DependencyUnavailable."""

    async def engaged(self, call: EnforceCall) -> tuple[EngagedSwitch, UtcTime, timedelta | None] | None:
        """The switch, when it was engaged, and how long it still counts (None: until its release); None once it has ended."""
        ...

    async def pending(self, limit: int) -> tuple[EnforceCall, ...]:
        """Switches of all tenants that count and have no statement yet, oldest first."""
        ...

    async def runs_of_user(self, switch: EngagedSwitch) -> tuple[RunRef, ...]:
        """Open runs that a switch of the scope `user` means."""
        ...

    async def found(self, call: EnforceCall, runs: tuple[RunRef, ...]) -> None:
        """Keeps which runs were cancelled."""
        ...

    async def paused(self, call: EnforceCall, schedules: tuple[str, ...]) -> tuple[str, ...]:
        """Keeps which schedules were paused; all of them so far."""
        ...

    async def open_effects(self, call: EnforceCall) -> int:
        """How many effects that the switch means have not ended."""
        ...

    async def give_up(self, call: EnforceCall) -> int:
        """Marks as unknown the effects that have not ended, and says how many."""
        ...

    async def statement(self, call: EnforceCall) -> KillSwitchStatement:
        """What the switch did, as of now. Raises NotFound."""
        ...

    async def state(self, call: EnforceCall, statement: KillSwitchStatement, envelope: dict[str, Any]) -> None:
        """Keeps the signed statement; the first one stands."""
        ...

    async def release(self, release: ReleaseCall) -> None:
        """Ends the switch; the approval of two people is used up with it. Raises Forbidden, NotFound; again is harmless."""
        ...


class KillSwitches(Protocol):
    """What the gateway does with switches: it engages them, and reads those a tenant may see: its own, and those of the platform
    that mean it. Every method raises DependencyUnavailable."""

    async def engage(self, switch: KillSwitchInput) -> None:
        """Stops from the commit on; the first writer wins."""
        ...

    async def get(self, tenant_id: str, switch_id: str) -> KillSwitchView:
        """One switch. Raises NotFound."""
        ...

    async def page(
        self, tenant_id: str, state: KillSwitchState | None, after: str | None, limit: int
    ) -> tuple[KillSwitchView, ...]:
        """Newest first, from after that id on."""
        ...

    async def envelope(self, tenant_id: str, switch_id: str) -> dict[str, Any]:
        """The signed statement of a switch of the tenant's own. Raises NotFound, also while there is none."""
        ...


class Runs(Protocol):
    """The open runs and the schedules of the platform. Every method raises DependencyUnavailable."""

    def matching(self, query: RunQuery) -> AsyncIterator[RunRef]:
        """The runs that are open now, as far as the index of runs knows: it may lag by a moment."""
        ...

    async def is_open(self, run: RunRef) -> bool:
        """Whether the run is still open."""
        ...

    async def cancel(self, run: RunRef, reason: str) -> None:
        """Asks a run to end; one that has ended is left as it is."""
        ...

    async def pause_schedules(self, query: RunQuery, note: str) -> tuple[str, ...]:
        """Pauses the schedules that start such runs; the ids of those that are paused with that note now, of an earlier call
        too."""
        ...

    async def resume_schedules(self, schedules: tuple[str, ...], note: str) -> None:
        """Lets them start runs again; one that is gone is left out."""
        ...


class StatementSigner(Protocol):
    """Signs what the platform states."""

    def sign(self, statement: KillSwitchStatement) -> dict[str, Any]:
        """A DSSE envelope that holds an in-toto statement."""
        ...
