"""Cedar texts as they come in: bounded, and checked before anything is done with them."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, StringConstraints

from activities.policy_sets import usable_faults
from api.edge_types import CleanText
from api.services import Services
from domain.base import Contract
from domain.errors import PolicyInvalid
from domain.policy_sets import MAX_TEXT_BYTES, PolicyCandidates

EXAMPLE: Final = '@id("within-the-constitution") permit (principal, action, resource);'

PolicyText = Annotated[CleanText, StringConstraints(min_length=1, max_length=MAX_TEXT_BYTES), Field(examples=[EXAMPLE])]
"""Cedar policies; docs/governance.md tells of the annotations."""


class WhatIf(Contract):
    """Policies to ask instead of those in force, of one layer or both; a layer that is left out stays as it is."""

    constitution: PolicyText | None = Field(default=None, description="In place of the constitution's policies.")
    tenant: PolicyText | None = Field(default=None, description="In place of the tenant's own.")


async def require_usable(services: Services, text: str, layer: str = "") -> None:
    """Raises PolicyInvalid, which says what is wrong and where."""
    faults = await usable_faults(services.policies.engine, text)
    if faults:
        first = faults[0]
        where = f" (line {first.line}, column {first.column})" if first.line is not None else ""
        whose = f"In the policies for the {layer}: " if layer else ""
        more = f" And {len(faults) - 1} more." if len(faults) > 1 else ""
        raise PolicyInvalid(
            f"{whose}{first.message.rstrip('.')}{where}.{more}", faults=[fault.model_dump(mode="json") for fault in faults]
        )


async def candidates(services: Services, what_if: WhatIf | None) -> PolicyCandidates:
    """The policies to ask instead. Raises PolicyInvalid."""
    if what_if is None:
        return PolicyCandidates()
    for layer, text in (("constitution", what_if.constitution), ("tenant", what_if.tenant)):
        if text is not None:
            await require_usable(services, text, layer)
    return PolicyCandidates(constitution=what_if.constitution, tenant=what_if.tenant)
