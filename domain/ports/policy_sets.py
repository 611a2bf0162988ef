"""Policy sets: their rows, how they read, and which one is in force."""

from __future__ import annotations

from typing import Protocol

from domain.policy_sets import ActivePolicySet, PolicySetActivationInput, PolicySetInput, PolicySetSummary, PolicySetView


class PolicySetStore(Protocol):
    """Rows of policy sets, each written with its event."""

    async def create(self, made: PolicySetInput, name: str, text: str, digest: str, policies: int) -> None:
        """Adds the set under the tenant's next version; the first writer wins."""
        ...

    async def text(self, tenant_id: str, policy_set_id: str) -> str:
        """The Cedar text. Raises NotFound."""
        ...

    async def activate(self, change: PolicySetActivationInput) -> None:
        """Puts the set in force, or out of it; again is harmless. Raises NotFound, and Conflict when another version than the
        expected one is in force."""
        ...


class ActivePolicySets(Protocol):
    """Which policies of its own a tenant has in force."""

    async def current(self, tenant_id: str) -> ActivePolicySet | None:
        """The tenant's set, or None when it has none. Raises for one that cannot be read or used: that is not the same."""
        ...


class PolicySetReads(Protocol):
    """Policy sets of one tenant."""

    async def get(self, tenant_id: str, policy_set_id: str) -> PolicySetView:
        """One set with its text. Raises NotFound."""
        ...

    async def page(self, tenant_id: str, *, active: bool | None, after: str | None, limit: int) -> tuple[PolicySetSummary, ...]:
        """Newest first, from after that id on; all, or only those that are in force or not."""
        ...
