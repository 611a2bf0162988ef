"""Whether this gateway lives, and whether it may be sent requests.

Redis is not needed, only missed: without it the gateway is `degraded`, and still ready.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Final

import structlog
from starlette.responses import JSONResponse

from api.auth import ServicesDependency
from api.routing import edge_router
from api.services import Probe
from domain.base import Contract
from domain.errors import DomainError

PROBE_SECONDS: Final = 1.0

router = edge_router("health")
log = structlog.get_logger("api.health")


class State(StrEnum):
    """Of the whole, and of one dependency."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"


class Alive(Contract):
    """The process answers."""

    status: State = State.OK


class Dependency(Contract):
    """One dependency; `reason` says in a word what is wrong."""

    status: State
    needed: bool
    reason: str | None = None


class Readiness(Contract):
    """`failed` when something needed is down, `degraded` when something else is."""

    status: State
    dependencies: dict[str, Dependency]


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> Alive:
    """Answers as long as the process does; asks nothing else."""
    return Alive()


@router.get(
    "/readyz",
    summary="May it be sent requests?",
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": "Something needed is down"}},
)
async def readyz(services: ServicesDependency) -> JSONResponse:
    """Asks every dependency at once, each for a second at most."""
    answers = await asyncio.gather(*(_ask(probe) for probe in services.probes))
    dependencies = {probe.name: answer for probe, answer in zip(services.probes, answers, strict=True)}
    states = {answer.status for answer in answers}
    status = next((state for state in (State.FAILED, State.DEGRADED) if state in states), State.OK)
    readiness = Readiness(status=status, dependencies=dependencies)
    return JSONResponse(readiness.model_dump(mode="json", exclude_none=True), 503 if status is State.FAILED else 200)


async def _ask(probe: Probe) -> Dependency:
    down = State.FAILED if probe.needed else State.DEGRADED
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await probe.check()
    except TimeoutError:
        return Dependency(status=down, needed=probe.needed, reason="timeout")
    except Exception as error:
        log.exception("probe.failed", dependency=probe.name)
        # The message may hold an address or worse; the type says enough to anyone who asks.
        return Dependency(
            status=down, needed=probe.needed, reason=error.type if isinstance(error, DomainError) else type(error).__name__
        )
    return Dependency(status=State.OK, needed=probe.needed)
