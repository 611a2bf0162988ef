"""What calls used, summed: by day, model, session, user or lane."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from domain.base import Contract, Count, UtcTime
from domain.names import UsageBy

MAX_GROUPS: Final = 1000


class UsageQuery(Contract):
    """Calls that began from `since` on and before `until`."""

    since: UtcTime
    until: UtcTime
    by: tuple[UsageBy, ...] = ()


class UsageRow(Contract):
    """What was used in one group, in one currency."""

    group: dict[UsageBy, str | None]
    calls: Count = Field(description="Attempts that have ended, failed ones too.")
    unknown: Count = Field(description="Attempts whose use nobody knows; they are billed at their bound until reconciled.")
    input_tokens: Count = Field(description="As reported; those of unknown attempts are in `unknown_tokens`.")
    output_tokens: Count
    unknown_tokens: Count = Field(description="The bounds of the unknown attempts, which are billed.")
    overrun_tokens: Count = Field(description="Used beyond bounds; also in the sums above.")
    cost_micros: Count = Field(description="Millionths of `currency`; unknown attempts at their bound.")
    currency: str | None = Field(description="Null for calls without a known price.")
