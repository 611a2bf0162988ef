"""What somebody may give to others: no more than they hold."""

from __future__ import annotations

from collections.abc import Iterable

from domain.actors import Actor
from domain.capabilities import within
from domain.errors import InsufficientScope


def check_grant(actor: Actor, capabilities: Iterable[str]) -> None:
    """Raises InsufficientScope for a capability that the actor does not hold as widely."""
    for capability in capabilities:
        if not within(capability, actor.scopes):
            raise InsufficientScope(
                f"The token lacks the scope {capability}, and nobody gives what they do not hold.", scope=capability
            )
