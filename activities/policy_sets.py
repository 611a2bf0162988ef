"""Policy sets: record one, put it in force or out of it."""

from __future__ import annotations

import asyncio

from temporalio import activity

from activities.errors import translate_errors
from domain.errors import PolicyInvalid
from domain.names import ActivityName
from domain.policy_sets import MAX_POLICIES, MAX_TEXT_BYTES, PolicyFault, PolicySetActivationInput, PolicySetInput
from domain.ports.blobs import BlobStore
from domain.ports.policy import PolicyEngine
from domain.ports.policy_sets import PolicySetStore


async def usable_faults(engine: PolicyEngine, text: str) -> tuple[PolicyFault, ...]:
    """What is wrong with a tenant's policies: as for any, and that they are too many. Takes milliseconds, so in a thread."""
    if len(text.encode()) > MAX_TEXT_BYTES:
        return (PolicyFault(message=f"The policies have more than {MAX_TEXT_BYTES} bytes."),)

    def look() -> tuple[PolicyFault, ...]:
        faults = engine.check(text)
        if not faults and (count := engine.count(text)) > MAX_POLICIES:
            return (PolicyFault(message=f"There are {count} policies; a set holds {MAX_POLICIES} at most."),)
        return faults

    return await asyncio.to_thread(look)


class PolicySetActivities:
    """What the workflows of policy sets have done for them."""

    def __init__(self, *, store: PolicySetStore, blobs: BlobStore, engine: PolicyEngine) -> None:
        """`blobs` hold the texts of what is to be made; `engine` says whether policies can be used."""
        self._store, self._blobs, self._engine = store, blobs, engine

    @activity.defn(name=ActivityName.POLICY_SET_CREATE.value)
    async def create(self, made: PolicySetInput) -> None:
        """Records the set under the next version. Fails as `policy-invalid` when its policies cannot be used."""
        with translate_errors():
            tenant_id = made.actor.tenant_id
            name = (await self._blobs.get(tenant_id, made.name.sha256)).decode()
            text = (await self._blobs.get(tenant_id, made.policies.sha256)).decode()
            await self._require_usable(text)
            await self._store.create(made, name, text, self._engine.digest(text), self._engine.count(text))

    @activity.defn(name=ActivityName.POLICY_SET_ACTIVATE.value)
    async def activate(self, change: PolicySetActivationInput) -> None:
        """Puts the set in force or out of it. Fails as `not-found`, `conflict` or `policy-invalid`."""
        with translate_errors():
            if change.active:
                # It was usable when it was made, perhaps under an older schema.
                await self._require_usable(await self._store.text(change.actor.tenant_id, change.policy_set_id))
            await self._store.activate(change)

    async def _require_usable(self, text: str) -> None:
        if await usable_faults(self._engine, text):
            # The faults quote the policies, which are the caller's words.
            raise PolicyInvalid("The policies cannot be used; POST /v1/policy-sets/validate says why.")
