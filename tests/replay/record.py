"""Records the corpus: `cd tests && ../.venv/bin/python -m replay.record [NAME…]`. Existing files stay as they are."""

from __future__ import annotations

import asyncio
import socket
import sys
import tempfile
from pathlib import Path

from live import Live, live
from replay.broken import BrokenSessionWorkflow
from replay.scenarios import SCENARIOS
from temporalio.worker import Worker

from domain.names import Queue
from workers.embedded.stack import EmbeddedStack
from workers.worker import activities_of

ROOT = Path(__file__).parents[2]
HISTORIES = Path(__file__).parent / "histories"
BROKEN = "must_fail"
CONTINUED = "continued"
EARLY = {"limit.historyCount.suggestContinueAsNew": "60"}


async def record(stack: EmbeddedStack, names: list[str]) -> None:
    """Plays the scenarios, without the codec: a history holds references only, and must be readable in a year."""
    async with live(stack, codec_key_file=None) as product:
        for name in names:
            async with product.caller() as caller:
                workflow_id = await SCENARIOS[name](product, caller)
                await write(product, name, workflow_id)


async def record_broken(stack: EmbeddedStack) -> None:
    """Plays the first scenario with a workflow that lacks one activity call."""
    others = (Queue.SLM, Queue.PLATFORM)
    async with live(stack, codec_key_file=None, queues=others, sandbox=False) as product:
        activities = activities_of(Queue.INTERACTIVE, product.activities)
        queue = Queue.INTERACTIVE.value
        worker = Worker(product.temporal, task_queue=queue, workflows=[BrokenSessionWorkflow], activities=activities)
        async with worker, product.caller() as caller:
            await write(product, BROKEN, await SCENARIOS["answered"](product, caller))


async def write(product: Live, name: str, workflow_id: str) -> None:
    """Writes the history of a workflow's first run, unless that file is there."""
    path = HISTORIES / f"{name}.json"
    if path.exists():
        sys.stdout.write(f"kept {path.name}\n")
        return
    latest = await product.temporal.get_workflow_handle(workflow_id).fetch_history()
    started = latest.events[0].workflow_execution_started_event_attributes
    run = product.temporal.get_workflow_handle(workflow_id, run_id=started.first_execution_run_id)
    history = await run.fetch_history()
    # Worker identities and sticky queues hold this machine's name, stack traces its paths.
    recorded = history.to_json().replace(socket.gethostname(), "recorder")
    path.write_text(recorded.replace(str(ROOT), "/soma").replace(sys.base_prefix, "/usr") + "\n")
    sys.stdout.write(f"wrote {path.name}: {len(history.events)} events\n")


def main() -> None:
    """Starts servers, records, stops them; a second time with runs that continue as new early."""
    wanted = sys.argv[1:] or list(SCENARIOS)
    for config, names in (({}, [name for name in wanted if name != CONTINUED]), (EARLY, [CONTINUED])):
        with tempfile.TemporaryDirectory() as home:
            stack = EmbeddedStack(Path(home) / "home", durable=False, tied=True, dynamic_config=config)
            with stack:
                asyncio.run(record(stack, names))
                if config is not EARLY:
                    asyncio.run(record_broken(stack))


if __name__ == "__main__":
    main()
