"""The last look before a request is written: without a guard nothing is sent."""

from __future__ import annotations

import contextvars

import pytest

from domain.effect_guard import guarded, pass_guard
from domain.errors import DomainError, KillSwitchUnreadable


def test_without_a_guard_nothing_passes() -> None:
    with pytest.raises(DomainError, match="Nothing guards"):
        contextvars.Context().run(pass_guard)


def test_the_innermost_guard_is_asked_and_the_outer_one_comes_back() -> None:
    def refuse() -> None:
        raise KillSwitchUnreadable("Not now.")

    with guarded(lambda: None):
        pass_guard()
        with guarded(refuse), pytest.raises(KillSwitchUnreadable):
            pass_guard()
        pass_guard()
