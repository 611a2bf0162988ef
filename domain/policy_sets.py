"""Policy sets: a tenant's own policies, beside those of the constitution.

They are two layers, each evaluated by itself. Both must permit and the strictest verdict wins, so that a tenant can narrow what
the constitution allows and never widen it: of one merged set a permit of the tenant's would be enough. A tenant's sets are
numbered versions that are never changed; one at a time is in force, or none, and then the constitution decides alone.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final
from uuid import UUID

from pydantic import Field

from domain.actors import Actor
from domain.base import Contract, Count, Sha256, UtcTime
from domain.blobs import BlobRef
from domain.decisions import Verdict
from domain.ids import PolicySetId

MAX_POLICIES: Final = 200
MAX_TEXT_BYTES: Final = 128 * 1024
"""Of a set: what is larger would no longer be decided within milliseconds."""


class PolicyLayer(StrEnum):
    """Whose policies spoke."""

    CONSTITUTION = "constitution"
    TENANT = "tenant"


SPEAKERS: Final = {PolicyLayer.CONSTITUTION: "policy", PolicyLayer.TENANT: "tenant-policy"}
"""What reasons call a layer."""


class PolicyLayers(Contract):
    """The Cedar text of each layer; `tenant` is None where the constitution decides alone."""

    constitution: str
    tenant: str | None = None

    def named(self) -> tuple[tuple[PolicyLayer, str], ...]:
        """Each layer there is with its text, the constitution first."""
        first = ((PolicyLayer.CONSTITUTION, self.constitution),)
        return first if self.tenant is None else (*first, (PolicyLayer.TENANT, self.tenant))


class PolicyFault(Contract):
    """What is wrong with policies. `line` and `column` count from 1; they are None for what has no place of its own."""

    message: str
    line: int | None = None
    column: int | None = None


class LayerVerdict(Contract):
    """What one layer said, and the ids of the policies that determined it, sorted; none where no policy did."""

    layer: PolicyLayer
    verdict: Verdict
    policies: tuple[str, ...] = ()


class ActivePolicySet(Contract):
    """The tenant's policies in force. `digest` covers text and schema."""

    policy_set_id: PolicySetId
    version: int
    text: str
    digest: Sha256


class PolicySetInput(Contract):
    """Argument of `policy_set.create`. Name and policies are the caller's words, so they come by reference."""

    policy_set_id: PolicySetId
    actor: Actor
    name: BlobRef
    policies: BlobRef


class PolicySetActivationInput(Contract):
    """Argument of `policy_set.activate`. `active` says what is wanted: that this set is in force, or that it is not.

    `expected_version` is the version that is in force before an activation, 0 for none: of two who saw the same one wins.
    """

    change_id: UUID
    actor: Actor
    policy_set_id: PolicySetId
    active: bool
    expected_version: Count = 0


class PolicySetSummary(Contract):
    """A policy set as lists show it. `policies` counts; the times and names of activation are those of the last one."""

    policy_set_id: PolicySetId
    version: int
    name: str
    digest: Sha256
    policies: int
    active: bool
    created_by: str
    created_at: UtcTime
    activated_by: str | None = None
    activated_at: UtcTime | None = None


class PolicySetView(PolicySetSummary):
    """A policy set as it reads, with its Cedar text."""

    text: str


class PolicyCandidates(Contract):
    """Policies to ask instead of those in force, of one layer or both; what is None stays as it is."""

    constitution: str | None = Field(default=None, max_length=MAX_TEXT_BYTES)
    tenant: str | None = Field(default=None, max_length=MAX_TEXT_BYTES)

    def replacing(self, layers: PolicyLayers) -> PolicyLayers:
        """The layers with these in place of theirs."""
        return PolicyLayers(
            constitution=self.constitution if self.constitution is not None else layers.constitution,
            tenant=self.tenant if self.tenant is not None else layers.tenant,
        )
