"""What a process knows of kill switches, in memory."""

from __future__ import annotations

from domain.errors import StoppedByKillSwitch
from domain.kill_switches import Act


class NothingStopped:
    """No kill switch is engaged."""

    def check(self, act: Act) -> None:
        assert act.tenant_id

    async def ready(self, seconds: float) -> None:
        assert seconds > 0


class StoppedAfter:
    """A switch is engaged once it was looked at so many times."""

    def __init__(self, looks: int) -> None:
        self.left = looks

    async def ready(self, seconds: float) -> None:
        assert seconds > 0

    def check(self, act: Act) -> None:
        if self.left == 0:
            raise StoppedByKillSwitch(f"A kill switch stops {act.feature}.", switch_id="ksw_" + "0" * 32, scope="tenant")
        self.left -= 1
