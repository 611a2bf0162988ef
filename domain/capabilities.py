"""Capabilities: which effects and routes a token opens. A capability is an OAuth scope token (RFC 6749, 3.3).

`feature:action` opens the action on every resource, `feature:action:pattern` on those whose id the pattern matches: the id
itself, or with a star at its end every id that begins so. What names no resource (a list, a resource to be made) is opened by
the capability without a pattern alone. Patterns go no further on purpose: whether one is within another is decided at a glance.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Final

from pydantic import AfterValidator

from domain.names import Effect, Scope

LONGEST_CAPABILITY: Final = 160
_PATTERN: Final = re.compile(r"(?:[A-Za-z0-9_./-]+\*?|\*)\Z")
_ANY: Final = "*"

_ANSWER: Final = frozenset({Scope.SESSION_SEND, Scope.SESSION_START})

CAPABILITIES: Final[dict[Effect, frozenset[Scope]]] = {
    Effect.SESSION_START: frozenset({Scope.SESSION_START}),
    Effect.TURN_ANSWER: _ANSWER,
    Effect.MEMORY_RECALL: _ANSWER,
    Effect.MODEL_CALL: _ANSWER | {Scope.SLM_CALL},
    Effect.MEMORY_REMEMBER: _ANSWER,
}
"""One of these scopes is enough for the effect. Starting a session answers its prompt, so that scope covers the answer too."""


def parsed(capability: str) -> tuple[Scope, str]:
    """The scope and the pattern, `*` where there is none. Raises ValueError for what is no capability."""
    if len(capability) > LONGEST_CAPABILITY:
        raise ValueError(f"A capability has at most {LONGEST_CAPABILITY} characters")
    feature, _, rest = capability.partition(":")
    action, colon, pattern = rest.partition(":")
    scope = Scope(f"{feature}:{action}")
    if colon and _PATTERN.match(pattern) is None:
        raise ValueError("The pattern of a capability is an id, or the beginning of one and a star")
    return scope, pattern if colon else _ANY


def _capability(value: str) -> str:
    parsed(value)
    return value


Capability = Annotated[str, AfterValidator(_capability)]
"""A known scope, with a pattern or without."""


def is_capability(text: str) -> bool:
    """Whether it names a scope of ours and its pattern can be read."""
    try:
        parsed(text)
    except ValueError:
        return False
    return True


def covers(held: Iterable[str], scope: Scope, resource: str | None = None) -> bool:
    """Whether one of the capabilities opens the scope's action on the resource; None is what names no resource.

    What is no capability opens nothing.
    """
    for capability in filter(is_capability, held):
        known, pattern = parsed(capability)
        if known is scope and (pattern == _ANY or (resource is not None and _matches(pattern, resource))):
            return True
    return False


def within(asked: str, held: Iterable[str]) -> bool:
    """Whether one of the capabilities opens everything that the asked one does; False for what is no capability."""
    if not is_capability(asked):
        return False
    scope, pattern = parsed(asked)
    wider = [other for known, other in map(parsed, filter(is_capability, held)) if known is scope]
    return any(_within(pattern, other) for other in wider)


def missing(effects: tuple[Effect, ...], scopes: tuple[str, ...], resource: str | None = None) -> tuple[Effect, ...]:
    """The effects on the resource for which none of the capabilities is enough; an effect no scope is named for is among
    them."""
    return tuple(
        effect for effect in effects if not any(covers(scopes, scope, resource) for scope in CAPABILITIES.get(effect, ()))
    )


def _matches(pattern: str, resource: str) -> bool:
    return resource.startswith(pattern[:-1]) if pattern.endswith(_ANY) else resource == pattern


def _within(pattern: str, wider: str) -> bool:
    """Of two patterns: a longer beginning is within a shorter one."""
    return pattern == wider or (wider.endswith(_ANY) and pattern.startswith(wider[:-1]))
