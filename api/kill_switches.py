"""The edge's part of the kill switch: new work is refused at once, before anything is stored for it."""

from __future__ import annotations

from typing import Final

from api.services import Services
from domain.actors import Actor
from domain.kill_switches import act_of
from domain.names import Feature

PATIENCE_SECONDS: Final = 2.0
"""How long a lease that has just run out is waited for."""


async def require_running(services: Services, actor: Actor, feature: Feature) -> None:
    """Returns when no switch means new work of the feature. Raises StoppedByKillSwitch, KillSwitchUnreadable."""
    await services.lease.ready(PATIENCE_SECONDS)
    services.lease.check(act_of(actor, feature.value, services.settings.region))
