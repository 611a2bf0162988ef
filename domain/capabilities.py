"""Capabilities: which effects and routes a token opens. A capability is an OAuth scope token (RFC 6749, 3.3).

`feature:action` opens the action on every resource, `feature:action:pattern` on those whose id the pattern matches: the id
itself, or with a star at its end every id that begins so. What names no resource (a list, a resource to be made) is opened by
the capability without a pattern alone. Patterns go no further on purpose: whether one is within another is decided at a glance.
The resource of `slm:call` is the role of models that is asked for; of every other scope it is what the path names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
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


@lru_cache(maxsize=4096)
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


def names(held: Iterable[str], scope: Scope) -> bool:
    """Whether one of the capabilities opens the scope's action on anything at all."""
    return any(parsed(capability)[0] is scope for capability in filter(is_capability, held))


def within(asked: str, held: Iterable[str]) -> bool:
    """Whether one of the capabilities opens everything that the asked one does; False for what is no capability."""
    if not is_capability(asked):
        return False
    scope, pattern = parsed(asked)
    wider = [other for known, other in map(parsed, filter(is_capability, held)) if known is scope]
    return any(_within(pattern, other) for other in wider)


def all_within(asked: Iterable[str], held: Iterable[str]) -> bool:
    """Whether each of the asked ones is within one of those that are held."""
    known = frozenset(held)
    return all(capability in known or within(capability, known) for capability in asked)


def narrowed(scope: Scope, held: Iterable[str], resource: str) -> str | None:
    """The widest capability for the scope's action on that resource that is within what is held; None when there is none."""
    if within(scope.value, held):
        return scope.value
    return f"{scope.value}:{resource}" if covers(held, scope, resource) else None


def opening(scopes: Iterable[str], resource: str | None, model_role: str | None) -> tuple[str, ...]:
    """The scopes that the capabilities open on this resource, `slm:call` on this role of models: each without its pattern."""
    held = tuple(scopes)
    return tuple(scope.value for scope in Scope if covers(held, scope, _object_of(scope, resource, model_role)))


def missing(
    effects: tuple[Effect, ...], scopes: tuple[str, ...], resource: str | None = None, model_role: str | None = None
) -> tuple[Effect, ...]:
    """The effects for which none of the capabilities is enough; an effect no scope is named for is among them.

    `slm:call` is asked about the model role, every other scope about the resource.
    """

    def enough(scope: Scope) -> bool:
        return covers(scopes, scope, _object_of(scope, resource, model_role))

    return tuple(effect for effect in effects if not any(map(enough, CAPABILITIES.get(effect, ()))))


def _object_of(scope: Scope, resource: str | None, model_role: str | None) -> str | None:
    return model_role if scope is Scope.SLM_CALL else resource


def _matches(pattern: str, resource: str) -> bool:
    return resource.startswith(pattern[:-1]) if pattern.endswith(_ANY) else resource == pattern


def _within(pattern: str, wider: str) -> bool:
    """Of two patterns: a longer beginning is within a shorter one."""
    return pattern == wider or (wider.endswith(_ANY) and pattern.startswith(wider[:-1]))
