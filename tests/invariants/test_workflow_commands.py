"""The sequence of commands of each workflow module is a fingerprint: a change must be a patch, or break running workflows."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from invariants.sources import ROOT, files, tree

BASELINE = Path(__file__).parent / "baselines" / "workflow_commands.json"
COMMANDS = {
    "execute_activity",
    "start_activity",
    "execute_local_activity",
    "start_local_activity",
    "execute_child_workflow",
    "start_child_workflow",
    "sleep",
    "wait_condition",
    "upsert_search_attributes",
    "upsert_memo",
    "continue_as_new",
    "patched",
    "deprecate_patch",
    "uuid7",
}
SCHEDULING = {"execute_activity", "start_activity", "execute_local_activity", "start_local_activity"}


def commands(path: Path) -> list[str]:
    """`function: command(first argument)` in source order, for every call of `workflow.…` that makes a command."""
    found: list[str] = []
    for function in ast.walk(tree(path)):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
        for call in sorted(calls, key=lambda node: (node.lineno, node.col_offset)):
            name = ast.unparse(call.func)
            if name.startswith("workflow.") and name.removeprefix("workflow.") in COMMANDS:
                first = ast.unparse(call.args[0]) if call.args and name.removeprefix("workflow.") in SCHEDULING else ""
                found.append(f"{function.name}: {name}({first})")
            elif name == "permit.run":
                found.append(f"{function.name}: permit.run({ast.unparse(call.args[1])})")
    return found


def current() -> dict[str, list[str]]:
    """The fingerprint of every workflow module that makes commands."""
    found = {str(path.relative_to(ROOT)): commands(path) for path in files("workflows")}
    return {name: made for name, made in found.items() if made}


def test_commands_are_those_of_the_baseline() -> None:
    assert current() == json.loads(BASELINE.read_text()), (
        "The commands of a workflow changed. Guard the change with workflow.patched() and an id of workflows/patches.py, see "
        "that the replay corpus passes, then write baselines/workflow_commands.json anew."
    )


@pytest.mark.parametrize("path", list(files("workflows")), ids=lambda path: path.name)
def test_every_activity_call_takes_its_options_from_one_place(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).removeprefix("workflow.") in SCHEDULING:
            splats = [keyword for keyword in node.keywords if keyword.arg is None]
            assert len(splats) == 1, f"{path.name}:{node.lineno} names no options of workflows/options.py"
            assert {keyword.arg for keyword in node.keywords} <= {None, "result_type", "summary"}, (
                f"{path.name}:{node.lineno} sets an option of its own"
            )


def test_effects_are_scheduled_by_the_gate_alone() -> None:
    """What is called outside the gate only records: rows of ours, or the text of an uploaded document. A replay asks policies,
    and does nothing of what they permit."""
    recording = {
        *("TURN_QUEUE", "DOCUMENT_ADD", "DOCUMENT_DELETE", "API_KEY_CREATE", "API_KEY_REVOKE"),
        "REVOCATION_CREATE",
        *(f"KILL_SWITCH_{step}" for step in ("PENDING", "PAUSE", "CANCEL", "SETTLE", "STATE", "RELEASE", "RESUME")),
        *("POLICY_SET_CREATE", "POLICY_SET_ACTIVATE", "POLICY_REPLAY_OPEN", "POLICY_REPLAY_PART", "POLICY_REPLAY_CLOSE"),
        *("ROLE_CREATE", "ROLE_REPLACE", "ROLE_DELETE"),
        *("CLIENT_CREATE", "CLIENT_CHANGE", "CLIENT_ROTATE", "CLIENT_DISABLE"),
        *("TENANT_CREATE", "TENANT_CHANGE", "TENANT_DELETE"),
        *("USER_CREATE", "USER_CHANGE", "USER_INVITE", "USER_ACTIVATE", "USER_DELETE"),
        *("TWO_KEY_PROPOSE", "TWO_KEY_APPROVE", "TWO_KEY_WITHDRAW"),
        *("BUDGET_SET", "MODEL_REVIEW", "LEDGER_SWEEP", "LEDGER_RECONCILE"),
    }
    for path in files("workflows"):
        if path.name == "gate.py":
            continue
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"workflow.execute_activity", "workflow.start_activity"}:
                called = ast.unparse(node.args[0]).removeprefix("ActivityName.").removesuffix(".value")
                assert called in recording, f"{path.name}:{node.lineno} schedules an effect past the gate"


def test_retry_policies_and_timeouts_stand_in_options_alone() -> None:
    for path in files("workflows"):
        if path.name != "options.py":
            assert "RetryPolicy(" not in path.read_text(), f"{path.name} writes a retry policy"
