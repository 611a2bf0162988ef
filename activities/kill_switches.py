"""What a kill switch does after it is engaged: end the runs, wait for what is in flight, sign what was done."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from temporalio import activity

from activities.errors import translate_errors
from domain.kill_switches import (
    CALL_SCOPES,
    CANCELLED_BY_SWITCH,
    EnforceCall,
    Enforced,
    EngagedSwitch,
    KillSwitchScope,
    ReleaseCall,
    RunRef,
    runs_meant,
)
from domain.names import ActivityName
from domain.ports.kill_switches import KillSwitchStore, Runs, StatementSigner

EMPTY_PASSES: Final = 2
"""So many looks in a row must find no open run: the index of runs lags."""
AT_ONCE: Final = 25
"""Runs asked to end at the same time."""
PASS_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 10.0
SETTLE_SECONDS: Final = 10.0
"""How long effects of ended runs are waited for before they are marked unknown: twice what their workers need to notice."""
LOOK_SECONDS: Final = 0.5
LONGEST_CALL_SECONDS: Final = 900.0
"""Calls of a stopped provider belong to no ended run: they may take their whole time."""


class KillSwitchActivities:
    """What the workflows of kill switches have done for them."""

    def __init__(self, *, store: KillSwitchStore, runs: Runs, signer: StatementSigner) -> None:
        """`runs` knows the open runs, `signer` signs the statement."""
        self._store, self._runs, self._signer = store, runs, signer

    @activity.defn(name=ActivityName.KILL_SWITCH_PENDING.value)
    async def pending(self) -> tuple[EnforceCall, ...]:
        """Switches that nobody has brought to an end yet."""
        with translate_errors():
            return await self._store.pending(100)

    @activity.defn(name=ActivityName.KILL_SWITCH_PAUSE.value)
    async def pause(self, call: EnforceCall) -> None:
        """Pauses the schedules that would start what is stopped."""
        with translate_errors():
            switch = await self._engaged(call)
            query = runs_meant(switch) if switch else None
            if query is not None:
                paused = await self._runs.pause_schedules(query, f"kill switch {call.switch_id}")
                await self._store.paused(call, paused)

    @activity.defn(name=ActivityName.KILL_SWITCH_CANCEL.value)
    async def cancel(self, call: EnforceCall) -> None:
        """Ends the runs that the switch means. Returns once two looks found none open, or the switch has ended."""
        empty, pause = 0, PASS_SECONDS
        with translate_errors():
            while empty < EMPTY_PASSES and (switch := await self._engaged(call)) is not None:
                runs = await self._open_runs(switch)
                # Kept before they are asked, so that none is ended that the statement does not name.
                await self._store.found(call, runs)
                await self._cancel_all(call, runs)
                empty = 0 if runs else empty + 1
                pause = PASS_SECONDS if not runs else min(pause * 1.5, LONGEST_PAUSE_SECONDS)
                activity.heartbeat(len(runs))
                await asyncio.sleep(pause)

    async def _open_runs(self, switch: EngagedSwitch) -> tuple[RunRef, ...]:
        if switch.scope is KillSwitchScope.USER:
            rows = await self._store.runs_of_user(switch)
            # The row of a run that died is open for ever, the run is not.
            return tuple([run for run in rows if await self._runs.is_open(run)])
        query = runs_meant(switch)
        return () if query is None else tuple([run async for run in self._runs.matching(query)])

    async def _cancel_all(self, call: EnforceCall, runs: tuple[RunRef, ...]) -> None:
        for start in range(0, len(runs), AT_ONCE):
            asked = (self._runs.cancel(run, f"{CANCELLED_BY_SWITCH}{call.switch_id}") for run in runs[start : start + AT_ONCE])
            await asyncio.gather(*asked)
            activity.heartbeat(start)

    @activity.defn(name=ActivityName.KILL_SWITCH_SETTLE.value)
    async def settle(self, call: EnforceCall) -> int:
        """Waits for effects in flight, and marks as unknown those that do not end; how many that were."""
        with translate_errors():
            switch = await self._engaged(call)
            patience = LONGEST_CALL_SECONDS if switch and switch.scope in CALL_SCOPES else SETTLE_SECONDS
            deadline = time.monotonic() + patience
            while await self._store.open_effects(call):
                if time.monotonic() > deadline:
                    return await self._store.give_up(call)
                activity.heartbeat()
                await asyncio.sleep(LOOK_SECONDS)
        return 0

    @activity.defn(name=ActivityName.KILL_SWITCH_STATE.value)
    async def state(self, call: EnforceCall) -> Enforced:
        """Signs what was done and keeps it; how long the switch still counts."""
        with translate_errors():
            statement = await self._store.statement(call)
            await self._store.state(call, statement, self._signer.sign(statement))
            return await self._left(call)

    @activity.defn(name=ActivityName.KILL_SWITCH_RELEASE.value)
    async def release(self, release: ReleaseCall) -> None:
        """Ends the switch. Fails as `forbidden` when no two people have approved it."""
        with translate_errors():
            await self._store.release(release)

    @activity.defn(name=ActivityName.KILL_SWITCH_RESUME.value)
    async def resume(self, call: EnforceCall) -> None:
        """Lets the schedules go on that the switch paused."""
        with translate_errors():
            schedules = await self._store.paused(call, ())
            await self._runs.resume_schedules(schedules, f"kill switch {call.switch_id} has ended")

    async def _engaged(self, call: EnforceCall) -> EngagedSwitch | None:
        found = await self._store.engaged(call)
        return None if found is None else found[0]

    async def _left(self, call: EnforceCall) -> Enforced:
        found = await self._store.engaged(call)
        if found is None:
            return Enforced(seconds_left=None, ended=True)
        left = found[2]
        return Enforced(seconds_left=None if left is None else max(0.0, left.total_seconds()), ended=False)
