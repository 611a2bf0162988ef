"""Replays of decisions: their rows, how they read, and the decisions they ask again."""

from __future__ import annotations

from typing import Protocol

from domain.base import Sha256, UtcTime
from domain.ids import DecisionId
from domain.policy_replays import (
    CloseReplayCall,
    PolicyReplayInput,
    PolicyReplayView,
    RecordedDecision,
    ReplayPart,
    ReplayStatus,
)


class DecisionHistory(Protocol):
    """Recorded decisions of one tenant."""

    async def recorded(
        self, tenant_id: str, *, since: UtcTime | None, until: UtcTime, after: DecisionId | None, limit: int
    ) -> tuple[RecordedDecision, ...]:
        """Those decided from `since` on, before `until`, oldest first, from after that id on."""
        ...


class PolicyReplayStore(Protocol):
    """Rows of replays."""

    async def open(self, asked: PolicyReplayInput, workflow_id: str) -> None:
        """Adds the replay as running; the first writer wins."""
        ...

    async def advance(self, asked: PolicyReplayInput, last: DecisionId, found: ReplayPart) -> None:
        """Counts what was found after `asked.after`, once."""
        ...

    async def close(self, call: CloseReplayCall, result: Sha256) -> None:
        """Records how it ended, with its event; the first writer wins."""
        ...


class PolicyReplayReads(Protocol):
    """Replays of one tenant."""

    async def get(self, tenant_id: str, replay_id: str) -> PolicyReplayView:
        """One replay. Raises NotFound."""
        ...

    async def page(
        self, tenant_id: str, *, status: ReplayStatus | None, after: str | None, limit: int
    ) -> tuple[PolicyReplayView, ...]:
        """Newest first, from after that id on."""
        ...
