"""The edge's part of the kill switch: new work is refused at once, before anything is stored for it."""

from __future__ import annotations

from api.services import Services
from domain.actors import Actor
from domain.kill_switches import act_of
from domain.names import Feature


def require_running(services: Services, actor: Actor, feature: Feature) -> None:
    """Returns when no switch means new work of the feature. Raises StoppedByKillSwitch, KillSwitchUnreadable."""
    services.lease.check(act_of(actor, feature.value, services.settings.region))
