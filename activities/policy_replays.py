"""Replays of decisions: open one, ask a part of the decisions again, record how it ended."""

from __future__ import annotations

import asyncio
from typing import Final

from temporalio import activity

from activities.errors import translate_errors
from domain.blobs import BlobRef
from domain.errors import NotFound
from domain.names import ActivityName
from domain.policy_replays import (
    PART,
    CloseReplayCall,
    NotReplayable,
    PolicyReplayInput,
    Recorded,
    RecordedDecision,
    ReplayedChange,
    ReplayPart,
    ReplayPartOutcome,
    Skipped,
    compared,
    joined,
    read,
)
from domain.policy_sets import PolicyCandidates, PolicyLayers
from domain.ports.blobs import BlobStore
from domain.ports.constitution import ConstitutionArchive
from domain.ports.policy import PolicyEngine
from domain.ports.policy_replays import DecisionHistory, PolicyReplayStore
from domain.ports.policy_sets import PolicySetReads

_JSON: Final = "application/json"
_STEP: Final = 100
"""Decisions between two heartbeats."""


class Archive:
    """The policies that recorded decisions were taken by, each read once."""

    def __init__(
        self,
        tenant_id: str,
        candidates: PolicyCandidates,
        *,
        constitutions: ConstitutionArchive,
        policy_sets: PolicySetReads,
        engine: PolicyEngine,
    ) -> None:
        """`candidates` take the place of a layer, whichever policies it had."""
        self._tenant_id, self._candidates = tenant_id, candidates
        self._constitutions, self._policy_sets, self._engine = constitutions, policy_sets, engine
        self._known: dict[str, tuple[str, str] | None] = {}

    async def layers(self, recorded: Recorded) -> PolicyLayers | NotReplayable:
        """What the decision is to be asked by, or why that cannot be had."""
        decision = recorded.decision
        constitution, tenant = self._candidates.constitution, self._candidates.tenant
        if constitution is None:
            found = await self._text(decision.constitution_hash, decision.policy_digest, of_constitution=True)
            if isinstance(found, NotReplayable):
                return found
            constitution = found
        if tenant is None and recorded.policy_set_id is not None:
            found = await self._text(recorded.policy_set_id, decision.tenant_policy_digest, of_constitution=False)
            if isinstance(found, NotReplayable):
                return found
            tenant = found
        return PolicyLayers(constitution=constitution, tenant=tenant)

    async def _text(self, name: str | None, digest: str | None, *, of_constitution: bool) -> str | NotReplayable:
        if name is None:
            return NotReplayable.POLICIES_UNKNOWN
        if name not in self._known:
            text = await (self._of_constitution(name) if of_constitution else self._of_tenant(name))
            self._known[name] = (text, self._engine.digest(text)) if text is not None else None
        known = self._known[name]
        if known is None:
            return NotReplayable.POLICIES_UNKNOWN
        return known[0] if known[1] == digest else NotReplayable.OTHER_SCHEMA

    async def _of_constitution(self, hash_: str) -> str | None:
        document = await self._constitutions.document(hash_)
        return document.policies if document is not None else None

    async def _of_tenant(self, policy_set_id: str) -> str | None:
        try:
            return (await self._policy_sets.get(self._tenant_id, policy_set_id)).text
        except NotFound:
            return None


class PolicyReplayActivities:
    """What the workflow of a replay has done for it."""

    def __init__(
        self,
        *,
        store: PolicyReplayStore,
        history: DecisionHistory,
        constitutions: ConstitutionArchive,
        policy_sets: PolicySetReads,
        engine: PolicyEngine,
        blobs: BlobStore,
    ) -> None:
        """`blobs` take what is found; the others hold what was decided, and by which policies."""
        self._store, self._history, self._blobs, self._engine = store, history, blobs, engine
        self._constitutions, self._policy_sets = constitutions, policy_sets

    @activity.defn(name=ActivityName.POLICY_REPLAY_OPEN.value)
    async def open(self, asked: PolicyReplayInput) -> None:
        """Records that the replay runs; a repeated attempt changes nothing."""
        with translate_errors():
            await self._store.open(asked, activity.info().workflow_id or "")

    @activity.defn(name=ActivityName.POLICY_REPLAY_PART.value)
    async def part(self, asked: PolicyReplayInput) -> ReplayPartOutcome:
        """Asks the decisions after `asked.after` again, `PART` at most. A repeated attempt finds the same and counts it once."""
        with translate_errors():
            tenant_id = asked.actor.tenant_id
            archive = Archive(
                tenant_id,
                await self._candidates(tenant_id, asked.candidates),
                constitutions=self._constitutions,
                policy_sets=self._policy_sets,
                engine=self._engine,
            )
            parts: list[ReplayPart] = []
            last = asked.after
            for _ in range(PART // _STEP):
                found = await self._history.recorded(tenant_id, since=asked.since, until=asked.until, after=last, limit=_STEP)
                if found:
                    parts.append(await self._asked_again(found, archive))
                    last = found[-1].decision.decision_id
                activity.heartbeat()
                if len(found) < _STEP:
                    break
            if not parts or last is None:
                return ReplayPartOutcome()
            whole = joined(tuple(parts))
            blob = await self._blobs.put(tenant_id, whole.model_dump_json().encode(), _JSON)
            await self._store.advance(asked, last, whole)
            return ReplayPartOutcome(part=blob, after=last)

    @activity.defn(name=ActivityName.POLICY_REPLAY_CLOSE.value)
    async def close(self, call: CloseReplayCall) -> None:
        """Keeps all that was found and records how the replay ended; the first writer wins."""
        with translate_errors():
            tenant_id = call.actor.tenant_id
            parts = [ReplayPart.model_validate_json(await self._blobs.get(tenant_id, part.sha256)) for part in call.parts]
            result = await self._blobs.put(tenant_id, joined(tuple(parts)).model_dump_json().encode(), _JSON)
            await self._store.close(call, result.sha256)

    async def _candidates(self, tenant_id: str, reference: BlobRef | None) -> PolicyCandidates:
        if reference is None:
            return PolicyCandidates()
        return PolicyCandidates.model_validate_json(await self._blobs.get(tenant_id, reference.sha256))

    async def _asked_again(self, found: tuple[RecordedDecision, ...], archive: Archive) -> ReplayPart:
        asked: list[tuple[Recorded, PolicyLayers]] = []
        skipped: list[Skipped] = []
        for each in found:
            recorded = read(each)
            layers = recorded if isinstance(recorded, NotReplayable) else await archive.layers(recorded)
            if isinstance(recorded, NotReplayable) or isinstance(layers, NotReplayable):
                why = recorded if isinstance(recorded, NotReplayable) else layers
                skipped.append(Skipped(decision_id=each.decision.decision_id, why=NotReplayable(why)))
            else:
                asked.append((recorded, layers))

        def compare() -> list[ReplayedChange | None]:
            return [compared(recorded, layers, self._engine) for recorded, layers in asked]

        # In a thread: a hundred decisions take longer than the event loop may wait.
        outcomes = await asyncio.to_thread(compare)
        changes = tuple(change for change in outcomes if change is not None)
        return ReplayPart(identical=len(outcomes) - len(changes), changes=changes, skipped=tuple(skipped))
