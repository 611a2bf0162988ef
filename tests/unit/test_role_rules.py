"""Roles: what the built-in ones open, and which names are taken for one."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.capabilities import all_within
from domain.names import Scope
from domain.roles import BUILT_IN_ROLES, built_in_capabilities, built_in_views, skeleton

NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,47}", fullmatch=True)


@given(NAMES, st.sampled_from([("m", "rn"), ("o", "0"), ("l", "1"), ("i", "l"), ("w", "vv"), ("s", "5")]))
@example("vw", ("w", "vv"))
def test_names_that_look_alike_have_one_skeleton(name: str, pair: tuple[str, str]) -> None:
    one, other = pair
    assert skeleton(name.replace(one, other)) == skeleton(name)
    assert skeleton(skeleton(name)) == skeleton(name)


@pytest.mark.parametrize(("one", "other"), [("clerk", "clark"), ("viewer", "views"), ("admin", "admins"), ("a-b", "ab")])
def test_other_names_are_others(one: str, other: str) -> None:
    assert skeleton(one) != skeleton(other)


def test_the_built_in_roles_open_what_they_say() -> None:
    assert built_in_capabilities(["admin"]) == set(Scope)
    assert built_in_capabilities(["nobody", "Admin"]) == frozenset()
    assert built_in_capabilities(["viewer", "member"]) == BUILT_IN_ROLES["viewer"] | BUILT_IN_ROLES["member"]
    assert all(scope.endswith(":read") for scope in built_in_capabilities(["viewer"]))
    for role in built_in_views():
        assert all_within(role.capabilities, built_in_capabilities(["admin"]))
        assert (role.built_in, role.role_id, role.created_by) == (True, None, None)
    assert len({skeleton(name) for name in BUILT_IN_ROLES}) == len(BUILT_IN_ROLES)
