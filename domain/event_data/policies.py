"""Events of a tenant's policies and of replays."""

from __future__ import annotations

from typing import ClassVar, Final

from domain.base import Count, Sha256
from domain.event_data.base import EventData
from domain.ids import PolicyReplayId, PolicySetId
from domain.names import EventType, Topic


class OfPolicySet(EventData):
    """An event on a policy set of the tenant's; its subject is the set's id. `subject` is who did it."""

    topic: ClassVar[Topic] = Topic.POLICY_DECISIONS

    policy_set_id: PolicySetId
    version: Count
    digest: Sha256
    subject: str

    @property
    def about(self) -> str:
        return self.policy_set_id


class PolicySetCreated(OfPolicySet):
    """A version was made; nothing is decided by it yet."""

    event_type: ClassVar[EventType] = EventType.POLICY_SET_CREATED


class PolicySetActivated(OfPolicySet):
    """A version is in force, in place of the one of `replaced_version` where there was one."""

    event_type: ClassVar[EventType] = EventType.POLICY_SET_ACTIVATED

    replaced_version: Count | None = None


class PolicySetDeactivated(OfPolicySet):
    """A version is out of force; the constitution decides alone."""

    event_type: ClassVar[EventType] = EventType.POLICY_SET_DEACTIVATED


class PolicyReplayEnded(EventData):
    """Recorded decisions were asked again. `status` is how that ended; what was counted until then stands."""

    event_type: ClassVar[EventType] = EventType.POLICY_REPLAY_ENDED
    topic: ClassVar[Topic] = Topic.POLICY_DECISIONS

    replay_id: PolicyReplayId
    status: str
    decisions: Count
    identical: Count
    changed: Count
    not_replayable: Count
    subject: str

    @property
    def about(self) -> str:
        return self.replay_id


EVENTS: Final = (
    PolicySetCreated,
    PolicySetActivated,
    PolicySetDeactivated,
    PolicyReplayEnded,
)
