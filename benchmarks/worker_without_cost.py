"""The worker process of the benchmark that shares by task: the real one, but every request has the same fairness weight.

That is Temporal's own fairness, a turn for each tenant whatever the turn costs. No setting of the product chooses it.
"""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Final

from temporalio import activity

from activities.slm_requests import SlmRequestActivities
from domain.names import ActivityName, Queue
from domain.slm import OpenedSlm, OpenSlmCall
from runtime.admin import admin_app, serve
from runtime.client import connect
from runtime.logs import configure_logs
from runtime.metrics import new_registry
from runtime.settings import Settings, settings
from workers.composition import compose_worker
from workers.processes import run, stop_event
from workers.search_attributes import ensure_search_attributes
from workers.worker import make_worker

WITHOUT_BATCH: Final = "--without-batch"


class _SameWeight(SlmRequestActivities):
    """These activities, with the ports of the real ones."""

    def __init__(self, real: SlmRequestActivities) -> None:
        vars(self).update(vars(real))

    @activity.defn(name=ActivityName.SLM_OPEN.value)
    async def open(self, call: OpenSlmCall) -> OpenedSlm:
        """As the real one; the task then weighs what every task does."""
        opened = await super().open(call)
        if opened.route is None:
            return opened
        return opened.model_copy(update={"route": opened.route.model_copy(update={"fairness_weight": 1.0})})


async def _serve(chosen: Settings) -> None:
    """As `workers.worker.run_worker`, with those activities, for the queues of model requests."""
    configure_logs("worker", chosen.log_level)
    stop, registry = stop_event(), new_registry()
    client = await connect(chosen, sandbox=chosen.workflow_sandbox)
    await ensure_search_attributes(client)

    async def running() -> bool:
        return all(worker.is_running for worker in workers)

    async with AsyncExitStack() as exits:
        parts = await exits.enter_async_context(compose_worker(chosen, client, registry))
        parts = replace(parts, slm_requests=_SameWeight(parts.slm_requests))
        queues = (Queue.SLM,) if WITHOUT_BATCH in sys.argv else (Queue.SLM, Queue.SLM_BATCH)
        workers = [make_worker(client, queue, parts) for queue in queues]
        await exits.enter_async_context(serve(admin_app(registry, running), chosen.admin_host, chosen.worker_admin_port))
        for worker in workers:
            await exits.enter_async_context(worker)
        await stop.wait()


if __name__ == "__main__":
    run(_serve(settings()))
