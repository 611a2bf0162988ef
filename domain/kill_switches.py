"""Kill switches: what an operator stops at once, and how everybody knows whether an effect may still begin.

A switch stands in Postgres. Every process asks for those that are engaged several times a second and may rely on an answer for
one second, counted from before it asked: that is its lease. Nothing begins without one. So once a switch is engaged, no effect
that it means begins more than a second later, whatever becomes of the processes.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Final

from pydantic import Field

from domain.actors import Actor
from domain.base import Contract, Count, Sha256, TenantId, UtcTime
from domain.ids import KillSwitchId
from domain.models import CallOutcome
from domain.names import SYSTEM_TENANT, Feature

LEASE_SECONDS: Final = 1.0
"""How long what a process knows of the switches counts, from before it asked."""

CANCELLED_BY_SWITCH: Final = "kill switch "
"""How the reason of a cancellation begins; the id of the switch follows."""

STOPPED_FEATURES: Final = frozenset({Feature.SESSION, Feature.SLM, Feature.DOCUMENT})
"""Features whose runs do work that a switch stops. Governance itself (revocations, budgets, switches) goes on."""


class KillSwitchScope(StrEnum):
    """What a switch stops, by its `value`."""

    ALL = "all"
    """Everything of every tenant; the platform's operators alone. There is no value."""
    REGION = "region"
    """What runs in a region; the platform's operators alone."""
    TENANT = "tenant"
    """Everything of the tenant that it is for. There is no value."""
    USER = "user"
    """What is done in a subject's name, also by others who act for it."""
    CAPSULE = "capsule"
    PROVIDER = "provider"
    """Calls to a model provider; other providers of a role go on."""
    TOOL = "tool"
    FEATURE = "feature"
    """Runs of a feature, such as `session` or `slm`."""


PLATFORM_SCOPES: Final = frozenset({KillSwitchScope.ALL, KillSwitchScope.REGION})
NAMELESS_SCOPES: Final = frozenset({KillSwitchScope.ALL, KillSwitchScope.TENANT})
CALL_SCOPES: Final = frozenset({KillSwitchScope.PROVIDER, KillSwitchScope.TOOL})
"""These stop single calls: no run belongs to them, so none is cancelled."""


class Act(Contract):
    """What is about to be done, in the words of the scopes. `subjects` are who asked and who acts for them."""

    tenant_id: str
    subjects: tuple[str, ...]
    region: str
    feature: str
    provider: str | None = None
    capsule_id: str | None = None
    tool: str | None = None


def act_of(actor: Actor, feature: str, region: str, *, provider: str | None = None) -> Act:
    """An act in the name of an actor."""
    subjects = (actor.subject, *actor.act)
    return Act(tenant_id=actor.tenant_id, subjects=subjects, region=region, feature=feature, provider=provider)


class EngagedSwitch(Contract):
    """A switch as a process knows it. `target_tenant` is None for one that means every tenant."""

    switch_id: KillSwitchId
    scope: KillSwitchScope
    value: str | None
    target_tenant: str | None


def means(switch: EngagedSwitch, act: Act) -> bool:
    """Whether a switch stops an act."""
    if switch.target_tenant not in (None, act.tenant_id):
        return False
    match switch.scope:
        case KillSwitchScope.ALL | KillSwitchScope.TENANT:
            return True
        case KillSwitchScope.REGION:
            return switch.value == act.region
        case KillSwitchScope.USER:
            return switch.value in act.subjects
        case KillSwitchScope.CAPSULE:
            return switch.value == act.capsule_id
        case KillSwitchScope.PROVIDER:
            return switch.value == act.provider
        case KillSwitchScope.TOOL:
            return switch.value == act.tool
        case KillSwitchScope.FEATURE:
            return switch.value == act.feature


class KillSwitchInput(Contract):
    """A switch to engage. `target_tenant` is None for one that means every tenant; `lifetime_seconds` for one until its release.

    The reason is the operator's words.
    """

    switch_id: KillSwitchId
    actor: Actor
    scope: KillSwitchScope
    value: str | None = Field(default=None, max_length=200)
    target_tenant: TenantId | None
    reason: str = Field(max_length=500)
    lifetime_seconds: int | None = Field(default=None, ge=1)


class KillSwitchState(StrEnum):
    """A switch's way. It stops from `engaged` until it is `released` or has `expired`."""

    ENGAGED = "engaged"
    RELEASED = "released"
    EXPIRED = "expired"


class KillSwitchView(Contract):
    """A switch as it reads. `epoch` grows with every switch that is engaged or released."""

    switch_id: KillSwitchId
    scope: KillSwitchScope
    value: str | None
    target_tenant: str | None
    reason: str
    state: KillSwitchState
    epoch: Count
    engaged_by: str
    engaged_at: UtcTime
    expires_at: UtcTime | None
    released_at: UtcTime | None
    released_by: tuple[str, ...]
    runs_found: Count
    runs_open: Count
    stated_at: UtcTime | None
    release_digest: Sha256
    """What two people approve (`killswitch.release`) before it is released."""


class EnforceCall(Contract):
    """Argument of `kill_switch.enforce` and of its activities: ids alone."""

    tenant_id: TenantId
    switch_id: KillSwitchId


class Enforced(Contract):
    """How long a switch still counts: seconds until it expires, None for one that waits for its release."""

    seconds_left: float | None
    ended: bool


class ReleaseCall(Contract):
    """Argument of the update `release` and of `kill_switch.release`."""

    actor: Actor
    switch_id: KillSwitchId


def release_digest(switch_id: str, epoch: int) -> str:
    """What two people approve: SHA-256, in hex, of the words that name the release of this switch."""
    return hashlib.sha256(f"release the kill switch {switch_id} of epoch {epoch}".encode()).hexdigest()


class RunRef(Contract):
    """A run of a tenant's workflow."""

    tenant_id: str
    workflow_id: str
    run_id: str
    feature: str


class RunQuery(Contract):
    """Which open runs a switch means, as Temporal's visibility knows them."""

    features: tuple[Feature, ...]
    tenant_id: str | None = None
    region: str | None = None
    capsule_id: str | None = None


class StoppedRun(Contract):
    """A run that a switch ended. `closed_at` is None while it is still open."""

    workflow_id: str
    run_id: str
    cancelled_at: UtcTime
    closed_at: UtcTime | None


class StoppedEffect(Contract):
    """An effect that was in flight when the switch was engaged, or began before every lease had run out.

    `reserved_at` is when it was about to be sent, `sent_at` when it was; of one whose process died nobody recorded whether it
    was. `owed` says what became of its reservation.
    """

    key: str
    attempt: int
    provider: str
    model: str
    reserved_at: UtcTime
    sent_at: UtcTime | None
    ended_at: UtcTime | None
    outcome: CallOutcome
    owed: str | None


class KillSwitchStatement(Contract):
    """What a switch did, once it is quiet: the predicate of the signed statement.

    `silence_ms`: from engaging to the last effect that was sent, as far as that was recorded; `effects_unrecorded` are those
    whose process died, and for them `lease_ms` is the bound by construction. `stillness_ms`: from engaging to the moment the last
    effect in flight had ended or was marked unknown.
    """

    switch_id: KillSwitchId
    scope: KillSwitchScope
    value: str | None
    target_tenant: str | None
    epoch: Count
    engaged_by: str
    engaged_at: UtcTime
    stated_at: UtcTime
    lease_ms: Count
    silence_ms: Count
    stillness_ms: Count
    runs_found: Count
    effects_found: Count
    effects_unknown: Count
    effects_unrecorded: Count
    runs: tuple[StoppedRun, ...]
    effects: tuple[StoppedEffect, ...]
    schedules_paused: tuple[str, ...]
    listed_at_most: Count


def runs_meant(switch: EngagedSwitch) -> RunQuery | None:
    """What to look for among the open runs; None where no run belongs to the scope, or only rows know which."""
    if switch.scope in CALL_SCOPES or switch.scope is KillSwitchScope.USER:
        return None
    features = tuple(sorted(STOPPED_FEATURES))
    if switch.scope is KillSwitchScope.FEATURE:
        features = tuple(feature for feature in features if feature == switch.value)
    return RunQuery(
        features=features,
        tenant_id=switch.target_tenant,
        region=switch.value if switch.scope is KillSwitchScope.REGION else None,
        capsule_id=switch.value if switch.scope is KillSwitchScope.CAPSULE else None,
    )


def may_engage(scope: KillSwitchScope, tenant_id: str, target_tenant: str | None) -> bool:
    """Whether somebody of that tenant may engage such a switch: the platform's operators any, others for their own alone."""
    if tenant_id == SYSTEM_TENANT:
        return scope is not KillSwitchScope.TENANT or target_tenant is not None
    return target_tenant == tenant_id and scope not in PLATFORM_SCOPES
