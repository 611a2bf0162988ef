"""The last look before an effect leaves the process: whoever writes a request to a model or a tool asks here first.

An activity sets the guard for what it begins, and it is asked between the connection and the first byte, however deep in a
library that is. Where nobody set one nothing may be sent.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar

from domain.errors import DomainError

Guard = Callable[[], None]
"""Raises a DomainError when the effect may not begin."""

_guard: ContextVar[Guard | None] = ContextVar("effect_guard", default=None)


@contextmanager
def guarded(guard: Guard) -> Generator[None]:
    """What is sent within the block, in this task and those it makes, asks `guard`."""
    before = _guard.set(guard)
    try:
        yield
    finally:
        _guard.reset(before)


def pass_guard() -> None:
    """Returns when a request may be written now. Raises what the guard raises, and DomainError where there is none."""
    guard = _guard.get()
    if guard is None:
        raise DomainError("Nothing guards this effect, so it is not begun.")
    guard()
