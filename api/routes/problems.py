"""What each type of error means: the addresses that the `type` of a problem document leads to."""

from __future__ import annotations

import inspect

from api.problems import problems
from api.routing import edge_router
from domain.base import Contract
from domain.errors import ERRORS, DomainError, NotFound

router = edge_router("problems")


class ProblemType(Contract):
    """A type of error."""

    type: str
    title: str
    status: int
    retryable: bool
    description: str


class ProblemTypes(Contract):
    """All types."""

    problems: tuple[ProblemType, ...]


def _described(kind: type[DomainError]) -> ProblemType:
    description = "Something went wrong on our side; the operator finds it by the trace_id."
    if kind is not DomainError:
        description = inspect.getdoc(kind) or kind.title
    return ProblemType(type=kind.type, title=kind.title, status=kind.status, retryable=kind.retryable, description=description)


@router.get("/problems", summary="All problem types")
async def list_problems() -> ProblemTypes:
    """Every type a problem document may have."""
    return ProblemTypes(problems=tuple(_described(kind) for kind in ERRORS.values()))


@router.get("/problems/{problem_type}", summary="One problem type", responses=problems(404))
async def show_problem(problem_type: str) -> ProblemType:
    """What this type means, and whether the same request may be sent again."""
    kind = ERRORS.get(problem_type)
    if kind is None:
        raise NotFound("No problem has that type; /problems lists them.")
    return _described(kind)
