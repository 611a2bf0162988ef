"""Policy sets in Postgres: rows written with their events, and the set in force as the gate asks for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from adapters.postgres.changes import tell_change, was_made
from adapters.postgres.connection import Pool, Row, tenant_select, tenant_transaction
from adapters.postgres.outbox import event_of, insert_events
from domain.errors import Conflict, NotFound, Unprocessable
from domain.event_data.base import EventData
from domain.event_data.policies import PolicySetActivated, PolicySetCreated, PolicySetDeactivated
from domain.policy_sets import (
    ActivePolicySet,
    PolicyFault,
    PolicySetActivationInput,
    PolicySetInput,
    PolicySetSummary,
    PolicySetView,
)
from domain.ports.policy import PolicyEngine

_MAX_REMEMBERED: Final = 10_000
_INSERT: Final = """
INSERT INTO policy_sets (tenant_id, policy_set_id, version, name, text, digest, policies, created_by)
SELECT $1, $2, coalesce(max(version), 0) + 1, $3, $4, $5, $6, $7 FROM policy_sets WHERE tenant_id = $1
ON CONFLICT (tenant_id, policy_set_id) DO NOTHING
RETURNING version
"""
_SWITCH: Final = """
UPDATE policy_sets SET active = $3, activated_by = CASE WHEN $3 THEN $4 ELSE activated_by END,
       activated_at = CASE WHEN $3 THEN now() ELSE activated_at END
WHERE tenant_id = $1 AND policy_set_id = $2
"""
_IN_FORCE: Final = "SELECT policy_set_id, version, digest FROM policy_sets WHERE tenant_id = $1 AND active"
_ONE: Final = "SELECT policy_set_id, version, digest FROM policy_sets WHERE tenant_id = $1 AND policy_set_id = $2"
_SELECT: Final = "SELECT * FROM policy_sets WHERE tenant_id = tenant.tenant_id"
_GET: Final = f"{_SELECT} AND policy_set_id = $2"
_ACTIVE: Final = f"{_SELECT} AND active"
_PAGE: Final = f"""{_SELECT} AND ($2::boolean IS NULL OR active = $2) AND ($3::text IS NULL OR policy_set_id < $3)
ORDER BY policy_set_id DESC LIMIT $4
"""


class PostgresPolicySets:
    """PolicySetStore and PolicySetReads over the table `policy_sets`. Every method raises DependencyUnavailable."""

    def __init__(self, pool: Pool) -> None:
        """`pool` connects as the application's role."""
        self._pool = pool

    async def create(self, made: PolicySetInput, name: str, text: str, digest: str, policies: int) -> None:
        """Adds the set and `policy_set.created`; the first writer wins."""
        tenant_id, subject = made.actor.tenant_id, made.actor.subject
        async with tenant_transaction(self._pool, tenant_id, alone=f"policy-sets/{tenant_id}") as connection:
            values = (made.policy_set_id, name, text, digest, policies, subject)
            version = await connection.fetchval(_INSERT, tenant_id, *values)
            if version is not None:
                told = PolicySetCreated(policy_set_id=made.policy_set_id, version=version, digest=digest, subject=subject)
                await insert_events(connection, tenant_id, (event_of(told),))

    async def text(self, tenant_id: str, policy_set_id: str) -> str:
        """The Cedar text. Raises NotFound."""
        return (await self.get(tenant_id, policy_set_id)).text

    async def activate(self, change: PolicySetActivationInput) -> None:
        """Puts the set in force or out of it, one change of a tenant at a time; an attempt that is repeated changes nothing.
        Raises NotFound, Conflict."""
        tenant_id = change.actor.tenant_id
        async with tenant_transaction(self._pool, tenant_id, alone=f"policy-sets/{tenant_id}") as connection:
            named = await connection.fetchrow(_ONE, tenant_id, change.policy_set_id)
            in_force = await connection.fetchrow(_IN_FORCE, tenant_id)
            if named is None:
                raise NotFound("No policy set has that id.")
            if await was_made(connection, tenant_id, change.change_id):
                return
            if (in_force is not None and in_force["policy_set_id"] == change.policy_set_id) is change.active:
                return
            version = in_force["version"] if in_force is not None else 0
            if change.active and version != change.expected_version:
                now = f"Version {version} is" if version else "No policy set is"
                raise Conflict(
                    f"{now} in force, not version {change.expected_version}; look again, then decide.", version=version
                )
            if in_force is not None:
                await connection.execute(_SWITCH, tenant_id, in_force["policy_set_id"], False, change.actor.subject)
            if change.active:
                await connection.execute(_SWITCH, tenant_id, change.policy_set_id, True, change.actor.subject)
            await tell_change(connection, tenant_id, change.change_id, _told(change, named, version))

    async def get(self, tenant_id: str, policy_set_id: str) -> PolicySetView:
        """One set with its text. Raises NotFound."""
        rows = await tenant_select(self._pool, tenant_id, _GET, policy_set_id)
        if not rows:
            raise NotFound("No policy set has that id.")
        return PolicySetView.model_validate({name: rows[0][name] for name in PolicySetView.model_fields})

    async def page(self, tenant_id: str, *, active: bool | None, after: str | None, limit: int) -> tuple[PolicySetSummary, ...]:
        """Newest first, from after that id on."""
        rows = await tenant_select(self._pool, tenant_id, _PAGE, active, after, limit)
        return tuple(PolicySetSummary.model_validate({name: row[name] for name in PolicySetSummary.model_fields}) for row in rows)


def _told(change: PolicySetActivationInput, named: Row, replaced: int) -> EventData:
    values: dict[str, Any] = {"policy_set_id": change.policy_set_id, "version": named["version"], "digest": named["digest"]}
    if change.active:
        return PolicySetActivated(**values, subject=change.actor.subject, replaced_version=replaced or None)
    return PolicySetDeactivated(**values, subject=change.actor.subject)


class CurrentPolicySets:
    """Implements `domain.ports.policy_sets.ActivePolicySets`. What is in force is remembered for a second at most."""

    def __init__(
        self, pool: Pool, engine: PolicyEngine, memory_seconds: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`engine` says whether a set can be used; `memory_seconds` 0 asks every time."""
        self._pool, self._engine = pool, engine
        self._memory, self._clock = memory_seconds, clock
        self._known: dict[str, tuple[float, ActivePolicySet | None]] = {}

    async def current(self, tenant_id: str) -> ActivePolicySet | None:
        """The tenant's set in force, or None. Raises DependencyUnavailable, and Unprocessable for one that cannot be used."""
        until, found = self._known.get(tenant_id, (float("-inf"), None))
        if until <= self._clock():
            # The time before asking: what is in force now may have changed when the answer arrives.
            until = self._clock() + self._memory
            found = await self._asked(tenant_id, found)
            if len(self._known) >= _MAX_REMEMBERED:
                self._known.clear()
            self._known[tenant_id] = (until, found)
        return found

    async def _asked(self, tenant_id: str, before: ActivePolicySet | None) -> ActivePolicySet | None:
        rows = await tenant_select(self._pool, tenant_id, _ACTIVE)
        if not rows:
            return None
        row = rows[0]
        if before is not None and (before.policy_set_id, before.text) == (row["policy_set_id"], row["text"]):
            return before
        faults = await asyncio.to_thread(self._looked_at, row["text"])
        if faults:
            trouble = f"The policy set in force cannot be used: {faults[0].message}"
            raise Unprocessable(f"{trouble} Activate one that can, or deactivate it.")
        # Of today's schema: the row has the digest of the day it was made.
        digest = self._engine.digest(row["text"])
        return ActivePolicySet(policy_set_id=row["policy_set_id"], version=row["version"], text=row["text"], digest=digest)

    def _looked_at(self, text: str) -> tuple[PolicyFault, ...]:
        """What is wrong with it. When nothing is it is parsed now, in a thread, so that deciding finds it parsed."""
        faults = self._engine.check(text)
        if not faults:
            self._engine.count(text)
        return faults
