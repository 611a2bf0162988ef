"""Which capability an effect needs. A capability is an OAuth scope token."""

from __future__ import annotations

from typing import Final

from domain.names import Effect, Scope

_ANSWER: Final = frozenset({Scope.SESSION_SEND, Scope.SESSION_START})

CAPABILITIES: Final[dict[Effect, frozenset[Scope]]] = {
    Effect.SESSION_START: frozenset({Scope.SESSION_START}),
    Effect.TURN_ANSWER: _ANSWER,
    Effect.MEMORY_RECALL: _ANSWER,
    Effect.MODEL_CALL: _ANSWER | {Scope.SLM_CALL},
    Effect.MEMORY_REMEMBER: _ANSWER,
}
"""One of these scopes is enough for the effect. Starting a session answers its prompt, so that scope covers the answer too."""


def missing(effects: tuple[Effect, ...], scopes: tuple[str, ...]) -> tuple[Effect, ...]:
    """The effects for which none of the scopes is enough; an effect no capability is named for is among them."""
    held = frozenset(scopes)
    return tuple(effect for effect in effects if held.isdisjoint(CAPABILITIES.get(effect, frozenset())))
