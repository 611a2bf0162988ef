"""Events of kill switches."""

from __future__ import annotations

from typing import ClassVar, Final

from domain.base import Count, UtcTime
from domain.event_data.base import EventData
from domain.ids import KillSwitchId
from domain.kill_switches import KillSwitchScope
from domain.names import EventType, Topic


class OfKillSwitch(EventData):
    """An event on a kill switch; its subject is the switch's id."""

    topic: ClassVar[Topic] = Topic.KILLSWITCH_EVENTS

    switch_id: KillSwitchId

    @property
    def about(self) -> str:
        return self.switch_id


class KillSwitchEngaged(OfKillSwitch):
    """What the switch means is stopped. `target_tenant` is null for one that means every tenant."""

    event_type: ClassVar[EventType] = EventType.KILL_SWITCH_ENGAGED

    scope: KillSwitchScope
    value: str | None
    target_tenant: str | None
    epoch: Count
    subject: str
    expires_at: UtcTime | None


class KillSwitchStated(OfKillSwitch):
    """Everything that the switch means is quiet, and its statement is signed. Times are counted from engaging it."""

    event_type: ClassVar[EventType] = EventType.KILL_SWITCH_STATED

    silence_ms: Count
    stillness_ms: Count
    runs_found: Count
    effects_found: Count
    effects_unknown: Count


class KillSwitchReleased(OfKillSwitch):
    """The switch stops nothing any more: `released_by` are the two who approved it."""

    event_type: ClassVar[EventType] = EventType.KILL_SWITCH_RELEASED

    released_by: tuple[str, ...]


EVENTS: Final = (
    KillSwitchEngaged,
    KillSwitchStated,
    KillSwitchReleased,
)
