"""The worker process: polls its task queues until it is told to stop, then lets what runs come to an end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import structlog
from temporalio.client import Client
from temporalio.worker import PollerBehaviorAutoscaling, Worker

from domain.names import Queue
from runtime.admin import admin_app, serve
from runtime.client import connect
from runtime.logs import configure_logs
from runtime.metrics import new_registry
from runtime.sdk_metrics import SdkMetrics
from runtime.settings import Settings
from runtime.telemetry import start_tracing
from workers.composition import Activities, compose_worker
from workers.processes import stop_event
from workers.schedules import ensure_schedules
from workers.search_attributes import ensure_search_attributes
from workflows.api_keys import ApiKeyCreateWorkflow, ApiKeyRevokeWorkflow
from workflows.budgets import BudgetSetWorkflow, LedgerReconcileWorkflow, LedgerSweepWorkflow, ModelReviewWorkflow
from workflows.clients import ClientChangeWorkflow, ClientCreateWorkflow, ClientDisableWorkflow, ClientRotateWorkflow
from workflows.documents import DocumentAddWorkflow, DocumentDeleteWorkflow
from workflows.kill_switches import KillSwitchEnforceWorkflow, KillSwitchSweepWorkflow
from workflows.policy_replays import PolicyReplayWorkflow
from workflows.policy_sets import PolicySetActivateWorkflow, PolicySetCreateWorkflow
from workflows.revocations import RevocationCreateWorkflow
from workflows.roles import RoleCreateWorkflow, RoleDeleteWorkflow, RoleReplaceWorkflow
from workflows.sessions import SessionWorkflow
from workflows.slm import SlmRequestWorkflow
from workflows.tenants import TenantChangeWorkflow, TenantCreateWorkflow, TenantDeleteWorkflow
from workflows.two_key import TwoKeyApproveWorkflow, TwoKeyProposeWorkflow, TwoKeyWithdrawWorkflow
from workflows.users import (
    UserActivateWorkflow,
    UserChangeWorkflow,
    UserCreateWorkflow,
    UserDeleteWorkflow,
    UserInviteWorkflow,
)

log = structlog.get_logger("workers.worker")

CACHED_WORKFLOWS: Final = 500
CALLING: Final = frozenset({Queue.SLM, Queue.SLM_BATCH})
"""Queues whose activities call models."""
SLOTS: Final = {Queue.SLM: 50, Queue.SLM_BATCH: 25}
"""Activities a process runs at once, of its queue. Batch calls never fill the slots of the others."""


def workflows_of(queue: Queue) -> Sequence[type]:
    """The workflow types that run on a queue."""
    return {
        Queue.INTERACTIVE: [SessionWorkflow],
        Queue.SLM: [SlmRequestWorkflow],
        Queue.PLATFORM: [
            DocumentAddWorkflow,
            DocumentDeleteWorkflow,
            ApiKeyCreateWorkflow,
            ApiKeyRevokeWorkflow,
            RevocationCreateWorkflow,
            KillSwitchEnforceWorkflow,
            KillSwitchSweepWorkflow,
            *(PolicySetCreateWorkflow, PolicySetActivateWorkflow, PolicyReplayWorkflow),
            *(RoleCreateWorkflow, RoleReplaceWorkflow, RoleDeleteWorkflow),
            *(ClientCreateWorkflow, ClientChangeWorkflow, ClientRotateWorkflow, ClientDisableWorkflow),
            *(TenantCreateWorkflow, TenantChangeWorkflow, TenantDeleteWorkflow),
            *(UserCreateWorkflow, UserChangeWorkflow, UserInviteWorkflow, UserActivateWorkflow, UserDeleteWorkflow),
            *(TwoKeyProposeWorkflow, TwoKeyApproveWorkflow, TwoKeyWithdrawWorkflow),
            BudgetSetWorkflow,
            ModelReviewWorkflow,
            LedgerSweepWorkflow,
            LedgerReconcileWorkflow,
        ],
    }.get(queue, [])


def activities_of(queue: Queue, parts: Activities) -> list[Any]:
    """The activities that run on a queue."""
    sessions, memory, documents = parts.sessions, parts.memory, parts.documents
    requests, calls = parts.slm_requests, [parts.slm.complete, parts.slm.embed]
    return {
        Queue.INTERACTIVE: [
            sessions.open,
            sessions.queue,
            sessions.open_turn,
            sessions.run_turn,
            sessions.review,
            sessions.close_turn,
            sessions.resolve,
            sessions.close,
            memory.recall,
            memory.remember,
            requests.plan,
        ],
        Queue.SLM: [*calls, requests.plan, requests.open, requests.move, requests.close, sessions.resolve],
        Queue.SLM_BATCH: calls,
        Queue.PLATFORM: [
            documents.add,
            documents.delete,
            parts.api_keys.create,
            parts.api_keys.revoke,
            parts.revocations.revoke,
            parts.kill_switches.pending,
            parts.kill_switches.pause,
            parts.kill_switches.cancel,
            parts.kill_switches.settle,
            parts.kill_switches.state,
            parts.kill_switches.release,
            parts.kill_switches.resume,
            *(parts.policy_sets.create, parts.policy_sets.activate),
            *(parts.policy_replays.open, parts.policy_replays.part, parts.policy_replays.close),
            *(parts.roles.create, parts.roles.replace, parts.roles.delete),
            *(parts.clients.create, parts.clients.change, parts.clients.rotate, parts.clients.disable),
            *(parts.tenants.create, parts.tenants.change, parts.tenants.delete),
            *(parts.users.create, parts.users.change, parts.users.invite, parts.users.activate, parts.users.delete),
            *(parts.two_key.propose, parts.two_key.approve, parts.two_key.withdraw),
            parts.budgets.set,
            parts.budgets.review,
            parts.budgets.sweep,
            parts.budgets.reconcile,
        ],
    }[queue]


def make_worker(client: Client, queue: Queue, parts: Activities, *, cached_workflows: int = CACHED_WORKFLOWS) -> Worker:
    """The worker of one queue. The client's plugin brings converter, sandbox and failure types."""
    workflows = workflows_of(queue)
    return Worker(
        client,
        task_queue=queue.value,
        workflows=workflows,
        activities=activities_of(queue, parts),
        max_cached_workflows=cached_workflows if workflows else 0,
        max_concurrent_workflow_tasks=200,
        max_concurrent_activities=SLOTS.get(queue, 100),
        # A killed worker's sticky tasks go to another after this long.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
        # A cancelled call learns of it with its next heartbeat.
        max_heartbeat_throttle_interval=timedelta(seconds=1),
        default_heartbeat_throttle_interval=timedelta(seconds=1),
        graceful_shutdown_timeout=timedelta(seconds=10),
        workflow_task_poller_behavior=PollerBehaviorAutoscaling(initial=2),
        activity_task_poller_behavior=PollerBehaviorAutoscaling(initial=2),
    )


async def run_worker(settings: Settings, queues: Sequence[Queue]) -> None:
    """Runs until SIGTERM or SIGINT. Raises DependencyUnavailable when Postgres or Temporal is not to be had."""
    configure_logs("worker", settings.log_level)
    tracing = start_tracing("worker", settings.otel_exporter_otlp_endpoint, settings.region)
    stop = stop_event()
    counted = SdkMetrics.of_process()
    try:
        client = await connect(settings, sandbox=settings.workflow_sandbox)
        await ensure_search_attributes(client)
        if Queue.PLATFORM in queues:
            await ensure_schedules(client, settings.region)
        registry = new_registry()
        registry.register(counted)
        async with (
            counted.kept_up(),
            compose_worker(settings, client, registry, calls_models=not CALLING.isdisjoint(queues)) as parts,
        ):
            workers = [make_worker(client, queue, parts) for queue in queues]

            async def running() -> bool:
                return all(worker.is_running for worker in workers)

            async with serve(admin_app(registry, running), settings.admin_host, settings.worker_admin_port):
                await _until_stopped(workers, stop)
    finally:
        if tracing is not None:
            tracing.shutdown()


async def _until_stopped(workers: Sequence[Worker], stop: asyncio.Event) -> None:
    """Ends when told to, or raises what a worker died of."""
    running = [asyncio.create_task(worker.run()) for worker in workers]
    stopping = asyncio.create_task(stop.wait())
    log.info("worker.started", queues=[worker.task_queue for worker in workers])
    try:
        await asyncio.wait([*running, stopping], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        await asyncio.gather(*(worker.shutdown() for worker in workers))
        await asyncio.gather(*running)
    log.info("worker.stopped")
