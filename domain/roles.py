"""Roles: named sets of capabilities, given to users and clients by name. These are built in and the same for every tenant."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import StringConstraints

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
