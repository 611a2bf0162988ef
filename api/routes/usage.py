"""Usage: what model calls used and cost, summed from the journal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from fastapi import Query
from pydantic import Field

from api.auth import ServicesDependency, require
from api.problems import problems
from api.routing import edge_router
from domain.actors import Actor
from domain.base import Contract, UtcTime
from domain.errors import InvalidRequest
from domain.names import Scope
from domain.usage import MAX_GROUPS, UsageBy, UsageQuery, UsageRow

router = edge_router("budgets")

_DEFAULT: Final = timedelta(days=30)
_LONGEST: Final = timedelta(days=366)

By = Annotated[
    list[UsageBy],
    Query(default_factory=list, max_length=len(UsageBy), description="What the sums are told apart by; repeatable."),
]
Since = Annotated[UtcTime | None, Query(description="Calls that began then or later; 30 days before `until` by default.")]
Until = Annotated[UtcTime | None, Query(description="Calls that began before then; now by default.")]


class UsageAnswer(Contract):
    """Sums of every group, one row a group and currency."""

    since: UtcTime
    until: UtcTime
    usage: tuple[UsageRow, ...]
    truncated: bool = Field(description=f"There are more than {MAX_GROUPS} groups; ask for a shorter time or fewer groups.")


@router.get("/v1/usage", summary="Read usage", responses=problems(400, 401, 403))
async def read_usage(
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.SLM_READ)],
    by: By,
    since: Since = None,
    until: Until = None,
) -> UsageAnswer:
    """What the tenant's calls used and cost, by day, model, session, user or lane; a range of at most 366 days."""
    until = until or datetime.now(UTC)
    since = since or _before(until)
    if not timedelta(0) < until - since <= _LONGEST:
        raise InvalidRequest(f"`since` must come before `until`, and by at most {_LONGEST.days} days.")
    found = await services.usage.usage(actor.tenant_id, UsageQuery(since=since, until=until, by=tuple(dict.fromkeys(by))))
    return UsageAnswer(since=since, until=until, usage=found, truncated=len(found) == MAX_GROUPS)


def _before(until: datetime) -> datetime:
    try:
        return until - _DEFAULT
    except OverflowError:
        raise InvalidRequest("`until` is before anything was used.") from None
