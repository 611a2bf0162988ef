"""Roles: named sets of capabilities, given to users and clients by name.

Some are built in and the same for every tenant; beside them a tenant makes its own, which hold no more than who made them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final
from uuid import UUID

from pydantic import Field, StringConstraints

from domain.actors import Actor
from domain.base import Contract, Count, UtcTime
from domain.capabilities import Capability
from domain.ids import RoleId
from domain.names import Scope

RoleName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,47}$")]

_READS: Final = frozenset(scope for scope in Scope if scope.value.endswith(":read"))
_WORK: Final = frozenset(
    {
        Scope.SESSION_START,
        Scope.SESSION_READ,
        Scope.SESSION_SEND,
        Scope.SESSION_CANCEL,
        Scope.DOCUMENT_READ,
        Scope.DOCUMENT_WRITE,
        Scope.EVENT_READ,
        Scope.SLM_CALL,
        Scope.SLM_READ,
    }
)

BUILT_IN_ROLES: Final[dict[str, frozenset[Scope]]] = {
    "admin": frozenset(Scope),
    "member": _WORK,
    "viewer": _READS,
    "approver": _READS | {Scope.POLICY_APPROVE, Scope.APPROVAL_WRITE},
}
"""What each opens, on every resource of the tenant."""


class RoleView(Contract):
    """A role as it reads. One that is built in has no id and nobody made it."""

    name: RoleName
    role_id: RoleId | None = None
    built_in: bool
    capabilities: tuple[str, ...]
    version: Count = 1
    created_by: str | None = None
    created_at: UtcTime | None = None
    updated_at: UtcTime | None = None


class RoleInput(Contract):
    """Argument of `role.create`."""

    role_id: RoleId
    actor: Actor
    name: RoleName
    capabilities: tuple[Capability, ...] = Field(min_length=1)


class RoleReplacementInput(Contract):
    """Argument of `role.replace`: the role opens these from now on, if its version is one of those expected (None: any)."""

    change_id: UUID
    role_id: RoleId
    actor: Actor
    capabilities: tuple[Capability, ...] = Field(min_length=1)
    expected: tuple[int, ...] | None = None


class RoleDeletionInput(Contract):
    """Argument of `role.delete`."""

    role_id: RoleId
    actor: Actor


def built_in_capabilities(names: Iterable[str]) -> frozenset[str]:
    """What those of the roles that are built in open."""
    return frozenset(scope.value for name in names for scope in BUILT_IN_ROLES.get(name, ()))


def built_in_views() -> tuple[RoleView, ...]:
    """The roles that are built in, by name."""
    return tuple(
        RoleView(name=name, built_in=True, capabilities=tuple(sorted(scope.value for scope in scopes)))
        for name, scopes in sorted(BUILT_IN_ROLES.items())
    )


def skeleton(name: str) -> str:
    """The name as it looks (after UTS 39): names with one skeleton are taken for the same.

    Letters are taken apart (`m` to `rn`), never put together, so that it does not matter where a pair begins.
    """
    return name.translate(_ALIKE)


_ALIKE: Final = str.maketrans({"0": "o", "1": "l", "i": "l", "5": "s", "m": "rn", "w": "vv"})
BUILT_IN_SKELETONS: Final = frozenset(map(skeleton, BUILT_IN_ROLES))
