"""Calls to Temporal, each with a deadline: start, update, and the failure of a run as an error of our tree."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final, TypeVar

from temporalio.client import Client, WithStartWorkflowOperation, WorkflowFailureError, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from domain.errors import ERRORS, DependencyUnavailable, DomainError
from domain.kill_switches import EnforceCall
from domain.names import Feature, Lane, Queue, UpdateName, WorkflowName, workflow_id
from domain.policy_replays import PolicyReplayInput
from domain.sessions import SessionInput, StartOutcome
from domain.slm import SlmRequestInput
from runtime.ids import new_uuid
from workflows.options import priority, search_attributes

Result = TypeVar("Result")
DEADLINE: Final = timedelta(seconds=15)
_RESULT_SECONDS: Final = 60
_CROWDED_SECONDS: Final = 30.0
_CROWDED_PAUSE: Final = 0.2


@contextmanager
def _reached() -> Generator[None]:
    """The gateway's client connects with its first call, and says with a RuntimeError that it could not."""
    try:
        yield
    except RuntimeError as error:
        raise DependencyUnavailable("Temporal does not answer; try again.", retry_after=2) from error


async def update(
    temporal: Client, workflow_id: str, name: UpdateName, arg: Any, result: type[Result], update_id: str | None = None
) -> Result | None:
    """Updates the current run of an entity; `arg` is None for an update without an argument.

    None when no such run is open: Temporal says the same of closed and unknown ones.
    """
    # The SDK's overloads for methods lose the types of async handlers; by name, `result` is checked when it is decoded.
    run: Any = temporal.get_workflow_handle(workflow_id)
    args = [] if arg is None else [arg]
    # One id for every try: the run handles it once.
    once = update_id or str(new_uuid())
    give_up = asyncio.get_running_loop().time() + _CROWDED_SECONDS
    while True:
        try:
            with _reached():
                return await run.execute_update(name.value, args=args, id=once, result_type=result, rpc_timeout=DEADLINE)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            # A run takes ten updates at a time; these end in milliseconds, so a crowd is waited out.
            if error.status is not RPCStatusCode.RESOURCE_EXHAUSTED or asyncio.get_running_loop().time() > give_up:
                raise
            await asyncio.sleep(_CROWDED_PAUSE)


async def start_session(
    temporal: Client, *, workflow_id: str, session: SessionInput, update_id: str
) -> tuple[StartOutcome, str] | None:
    """Update-with-start: the decision and the id of the first run. None when that session is closed already."""
    with_start: Any = WithStartWorkflowOperation
    operation = with_start(
        WorkflowName.SESSION.value,
        session,
        id=workflow_id,
        task_queue=Queue.INTERACTIVE.value,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        priority=priority(Lane.INTERACTIVE, session.actor.tenant_id),
        search_attributes=search_attributes(
            feature=Feature.SESSION,
            tenant_id=session.actor.tenant_id,
            lane=Lane.INTERACTIVE,
            region=session.region,
            SESSION_ID=session.session_id,
        ),
        static_summary=f"Session of {session.actor.tenant_id}",
    )
    try:
        client: Any = temporal
        with _reached():
            outcome: StartOutcome = await client.execute_update_with_start_workflow(
                UpdateName.STARTED.value,
                start_workflow_operation=operation,
                id=update_id,
                result_type=StartOutcome,
                rpc_timeout=DEADLINE,
            )
    except WorkflowAlreadyStartedError:
        return None
    handle = await operation.workflow_handle()
    return outcome, handle.first_execution_run_id or handle.result_run_id or ""


async def start_slm_request(temporal: Client, *, workflow_id: str, asked: SlmRequestInput) -> None:
    """Starts the run of a model request; one of that id that runs or has ended is left as it is."""
    try:
        with _reached():
            await temporal.start_workflow(
                WorkflowName.SLM_REQUEST.value,
                asked,
                id=workflow_id,
                task_queue=Queue.SLM.value,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                priority=priority(asked.lane, asked.actor.tenant_id),
                search_attributes=search_attributes(
                    feature=Feature.SLM, tenant_id=asked.actor.tenant_id, lane=asked.lane, region=asked.region
                ),
                static_summary=f"Model request of {asked.actor.tenant_id}",
                rpc_timeout=DEADLINE,
            )
    except WorkflowAlreadyStartedError:
        return


async def start_enforcement(temporal: Client, call: EnforceCall, region: str) -> None:
    """Starts the run that ends what a kill switch means; one that runs is left as it is."""
    with _reached():
        await temporal.start_workflow(
            WorkflowName.KILL_SWITCH_ENFORCE.value,
            call,
            id=workflow_id(Feature.KILL_SWITCH, call.tenant_id, call.switch_id),
            task_queue=Queue.PLATFORM.value,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            priority=priority(Lane.SAFETY, call.tenant_id),
            search_attributes=search_attributes(
                feature=Feature.KILL_SWITCH, tenant_id=call.tenant_id, lane=Lane.SAFETY, region=region
            ),
            static_summary=f"Kill switch of {call.tenant_id}",
            rpc_timeout=DEADLINE,
        )


async def start_policy_replay(temporal: Client, *, workflow_id: str, asked: PolicyReplayInput, region: str) -> None:
    """Update-with-start: the replay runs, and can be read. One of that id that has ended is left as it is."""
    tenant_id = asked.actor.tenant_id
    with_start: Any = WithStartWorkflowOperation
    operation = with_start(
        WorkflowName.POLICY_REPLAY.value,
        asked,
        id=workflow_id,
        task_queue=Queue.PLATFORM.value,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        priority=priority(Lane.BATCH, tenant_id),
        search_attributes=search_attributes(feature=Feature.POLICY_REPLAY, tenant_id=tenant_id, lane=Lane.BATCH, region=region),
        static_summary=f"Replay of decisions of {tenant_id}",
    )
    client: Any = temporal
    try:
        with _reached():
            await client.execute_update_with_start_workflow(
                UpdateName.STARTED.value, start_workflow_operation=operation, id=asked.replay_id, rpc_timeout=DEADLINE
            )
    except WorkflowAlreadyStartedError:
        return


async def cancel_run(temporal: Client, workflow_id: str) -> None:
    """Asks a run to stop; one that is not open is left as it is."""
    try:
        with _reached():
            await temporal.get_workflow_handle(workflow_id).cancel(rpc_timeout=DEADLINE)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise


async def run_to_end(
    temporal: Client,
    *,
    name: WorkflowName,
    arg: Any,
    workflow_id: str,
    feature: Feature,
    tenant_id: str,
    region: str,
    result: type[Result],
) -> Result:
    """Starts a short run on the platform queue, or finds the one of that id, and returns its result.

    Raises the error of our tree that it failed with, DependencyUnavailable when it does not end within a minute; it goes on then.
    A failed run may be tried again under its id, a completed one is kept.
    """
    handle: WorkflowHandle[Any, Result]
    try:
        with _reached():
            handle = await temporal.start_workflow(
                name.value,
                arg,
                id=workflow_id,
                task_queue=Queue.PLATFORM.value,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
                priority=priority(Lane.INTERACTIVE, tenant_id),
                search_attributes=search_attributes(feature=feature, tenant_id=tenant_id, lane=Lane.INTERACTIVE, region=region),
                static_summary=f"{name.value} of {tenant_id}",
                result_type=result,
                rpc_timeout=DEADLINE,
            )
    except WorkflowAlreadyStartedError:
        handle = temporal.get_workflow_handle(workflow_id, result_type=result)
    try:
        # The SDK's own deadline is that of each long poll, of which there may be many.
        async with asyncio.timeout(_RESULT_SECONDS):
            return await handle.result(rpc_timeout=DEADLINE * 2)
    except TimeoutError as error:
        raise DependencyUnavailable("It is not made yet; send the same request again with its key.", retry_after=5) from error
    except WorkflowFailureError as error:
        raise _failure(error) from error


def _failure(error: WorkflowFailureError) -> DomainError:
    """The error of our tree that a run failed with; `internal-error` for any other failure."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ApplicationError) and cause.type in ERRORS:
            return ERRORS[cause.type](cause.message)
        cause = cause.__cause__
    return DomainError("The workflow failed; ask the operator and name the trace_id.")
