"""Model requests: their rows, how they read, and what past calls teach about the next."""

from __future__ import annotations

from typing import Any, Protocol

from domain.decisions import Decision, GateRequest
from domain.forecasts import History
from domain.models import SlmAnswer
from domain.sessions import TurnError
from domain.slm import SlmRequestInput, SlmStatus, SlmView


class SlmRequestStore(Protocol):
    """Each write is one transaction with its events; the first writer wins and the stored value is returned."""

    async def decision(self, tenant_id: str, workflow_id: str, step_key: str) -> Decision | None:
        """The decision this step already has, if any."""
        ...

    async def open(
        self,
        request: SlmRequestInput,
        run_id: str,
        asked: GateRequest,
        decision: Decision,
        snapshot: dict[str, Any],
        forecast_tokens: int,
    ) -> Decision:
        """Records the decision and the request."""
        ...

    async def move(self, tenant_id: str, request_id: str, status: SlmStatus) -> None:
        """Moves a request on that has not ended."""
        ...

    async def close(
        self, tenant_id: str, request_id: str, status: SlmStatus, answer: SlmAnswer | None, error: TurnError | None
    ) -> SlmStatus:
        """Records how a request ended; one that has ended keeps its end, which is returned."""
        ...

    async def review(self, asked: GateRequest, decision: Decision, snapshot: dict[str, Any]) -> Decision:
        """Records the decision on an answer."""
        ...


class SlmReads(Protocol):
    """Projections of one tenant's model requests. Each raises NotFound for what is unknown or another tenant's."""

    async def request(self, tenant_id: str, request_id: str) -> SlmView:
        """One request, with its answer once it is completed."""
        ...

    async def recorded(self, tenant_id: str, request_id: str, timeout_seconds: float) -> SlmView:
        """The request as soon as it has a row, which its run's first step writes. Raises NotFound after that time."""
        ...

    async def wait(self, tenant_id: str, request_id: str, timeout_seconds: float) -> SlmView:
        """The request once it has ended or waits for somebody, or as it stands after that time."""
        ...

    async def ended(self, tenant_id: str, request_id: str, timeout_seconds: float) -> SlmView:
        """The request once it has ended, or as it stands after that time."""
        ...

    async def requests(self, tenant_id: str, *, status: SlmStatus | None, after: str | None, limit: int) -> tuple[SlmView, ...]:
        """Newest first, from after that id on, without their answers."""
        ...

    async def ahead(self, tenant_id: str, lane: str) -> int:
        """How many of the tenant's requests of this lane or a higher one have not ended: a hint at the place in the queue."""
        ...


class Forecasts(Protocol):
    """What past calls teach about the next one, and what forecasts were wrong by."""

    async def history(self, tenant_id: str, role: str) -> History:
        """The last completed calls of the role, some dozens at most, and what the tenant's forecasts were wrong by."""
        ...

    async def charge(self, tenant_id: str, forecast_tokens: int, carried: int) -> int:
        """What the next task is counted as (`domain.fairness.charge`): it takes over a part of `carried` that is still there."""
        ...

    async def carry(self, tenant_id: str, error_tokens: int) -> None:
        """Adds what a forecast fell short by (negative: was too high by)."""
        ...
