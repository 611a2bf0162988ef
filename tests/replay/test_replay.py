"""Recorded histories replay on today's workflows, and the one that must not does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from domain.names import Queue, WorkflowName
from runtime.plugin import somagent_plugin
from workers.worker import workflows_of

HISTORIES = Path(__file__).parent / "histories"
MUST_FAIL = "must_fail"
CORPUS = sorted(path.stem for path in HISTORIES.glob("*.json") if path.stem != MUST_FAIL)


def replayer() -> Replayer:
    """Today's workflows, in the sandbox, as a worker runs them."""
    workflows = [kind for queue in Queue for kind in workflows_of(queue)]
    return Replayer(workflows=workflows, plugins=[somagent_plugin(None)])


def history(name: str) -> WorkflowHistory:
    """A recorded history."""
    return WorkflowHistory.from_json(f"recorded/{name}", (HISTORIES / f"{name}.json").read_text())


@pytest.mark.parametrize("name", CORPUS)
async def test_recorded_history_replays(name: str) -> None:
    await replayer().replay_workflow(history(name))


def test_the_corpus_covers_every_workflow_type() -> None:
    types = {history(name).events[0].workflow_execution_started_event_attributes.workflow_type.name for name in CORPUS}
    assert types == {name.value for name in WorkflowName}


async def test_a_history_with_one_activity_call_less_does_not_replay() -> None:
    result = await replayer().replay_workflow(history(MUST_FAIL), raise_on_replay_failure=False)
    assert isinstance(result.replay_failure, NondeterminismError)
