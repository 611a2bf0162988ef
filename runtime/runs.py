"""Open runs and schedules of the platform, found and stopped through Temporal."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from domain.errors import DependencyUnavailable, InvalidRequest
from domain.kill_switches import RunQuery, RunRef
from domain.names import SYSTEM_TENANT, SearchAttribute

DEADLINE: Final = timedelta(seconds=10)
_PAGE: Final = 200


class TemporalRuns:
    """Implements `domain.ports.kill_switches.Runs`."""

    def __init__(self, client: Client) -> None:
        """`client` reads and stops the runs of its namespace."""
        self._client = client

    async def matching(self, query: RunQuery) -> AsyncIterator[RunRef]:
        """The runs that visibility shows as running."""
        if not query.features:
            return
        with _mapped():
            async for found in self._client.list_workflows(_visibility(query), page_size=_PAGE, rpc_timeout=DEADLINE):
                yield _run(found)

    async def is_open(self, run: RunRef) -> bool:
        """Asks the server itself, which does not lag. A run id that is not the last one's means the last one."""
        try:
            with _mapped():
                described = await self._client.get_workflow_handle(run.workflow_id).describe(rpc_timeout=DEADLINE)
        except _GoneError:
            return False
        return described.status is WorkflowExecutionStatus.RUNNING

    async def cancel(self, run: RunRef, reason: str) -> None:
        """Asks the workflow's current run, since a run may have continued as new meanwhile."""
        try:
            with _mapped():
                await self._client.get_workflow_handle(run.workflow_id).cancel(reason=reason, rpc_timeout=DEADLINE)
        except _GoneError:
            return

    async def pause_schedules(self, query: RunQuery, note: str) -> tuple[str, ...]:
        """Those that carry the attributes of such runs and are not the platform's own upkeep.

        What a call paused that died before it said so is told by the note; what others paused is left to them.
        """
        paused: list[str] = []
        with _mapped():
            async for listed in await self._client.list_schedules(_attributes(query), rpc_timeout=DEADLINE):
                if listed.schedule is None or (listed.schedule.state.paused and listed.schedule.state.note != note):
                    continue
                if not listed.schedule.state.paused:
                    await self._client.get_schedule_handle(listed.id).pause(note=note, rpc_timeout=DEADLINE)
                paused.append(listed.id)
        return tuple(paused)

    async def resume_schedules(self, schedules: tuple[str, ...], note: str) -> None:
        """One after the other; one that was deleted is left out."""
        for schedule in schedules:
            try:
                with _mapped():
                    await self._client.get_schedule_handle(schedule).unpause(note=note, rpc_timeout=DEADLINE)
            except _GoneError:
                continue


class _GoneError(Exception):
    """The server knows nothing of that name that is open."""


@contextmanager
def _mapped() -> Generator[None]:
    try:
        yield
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise _GoneError from error
        raise DependencyUnavailable(f"Temporal does not answer ({error.status.name}); it is asked again.") from error


def _visibility(query: RunQuery) -> str:
    """The query in Temporal's list filter."""
    return f"ExecutionStatus = 'Running' AND {_attributes(query)}"


def _attributes(query: RunQuery) -> str:
    features = ", ".join(_quoted(feature.value) for feature in query.features)
    parts = [f"{SearchAttribute.FEATURE.value} IN ({features})"]
    wanted = {
        SearchAttribute.TENANT_ID: query.tenant_id,
        SearchAttribute.REGION: query.region,
        SearchAttribute.CAPSULE_ID: query.capsule_id,
    }
    parts += [f"{name.value} = {_quoted(value)}" for name, value in wanted.items() if value is not None]
    return " AND ".join(parts)


def _quoted(value: str) -> str:
    """A string of the list filter. Raises InvalidRequest for what would end it."""
    if not value.isprintable() or any(mark in value for mark in "'\"`\\"):
        raise InvalidRequest("That value cannot be looked for among the runs.")
    return f"'{value}'"


def _run(found: WorkflowExecution) -> RunRef:
    feature, tenant_id, *_ = [*found.id.split("/", 2), SYSTEM_TENANT, ""]
    return RunRef(tenant_id=tenant_id, workflow_id=found.id, run_id=found.run_id, feature=feature)
