"""One effect about to begin: it asks the kill switches before anything is reserved, and again just before it is sent."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager

from temporalio import activity

from domain.actors import Actor
from domain.effect_guard import guarded
from domain.kill_switches import Act, act_of
from domain.models import CallRecord
from domain.ports.kill_switches import Lease


class Effect:
    """Knows when it began, for the record."""

    def __init__(self, lease: Lease, act: Act) -> None:
        """Raises StoppedByKillSwitch, KillSwitchUnreadable: it may not begin."""
        self._lease, self._act = lease, act
        self._asked, self._sent = time.monotonic(), None
        lease.check(act)

    @contextmanager
    def begun(self) -> Generator[None]:
        """What is done within asks once more, now and with every request it writes. Raises as the constructor does."""
        self._pass()
        with guarded(self._pass):
            yield

    def timed(self, record: CallRecord) -> CallRecord:
        """The record with when it was sent."""
        sent_ms = None if self._sent is None else round((self._sent - self._asked) * 1000)
        return record.model_copy(update={"sent_ms": sent_ms})

    def _pass(self) -> None:
        self._lease.check(self._act)
        self._sent = time.monotonic()


class Effects:
    """Makes the effects of this process's activities."""

    def __init__(self, lease: Lease, region: str) -> None:
        """`region` is where the process runs."""
        self._lease = lease
        self.region = region

    def new(self, actor: Actor, *, provider: str | None = None) -> Effect:
        """An effect of the running activity. Raises StoppedByKillSwitch, KillSwitchUnreadable."""
        feature = (activity.info().workflow_id or "").partition("/")[0]
        return Effect(self._lease, act_of(actor, feature, self.region, provider=provider))
