"""Parts of workflows that the sandbox passes through: they define no workflow, keep no state, and touch no clock or chance."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from invariants.sources import ROOT, files, tree

from runtime.plugin import PASSTHROUGH

FORBIDDEN_MODULES = {
    "datetime.datetime",
    "time",
    "random",
    "uuid",
    "os",
    "secrets",
    "threading",
    "socket",
    "pathlib",
    "subprocess",
}
FORBIDDEN_CALLS = {"datetime.now", "datetime.utcnow", "open", "print", "asyncio.wait", "asyncio.as_completed", "asyncio.sleep"}
PARTS = [path for path in files("workflows") if f"workflows.{path.stem}" in PASSTHROUGH]


@pytest.mark.parametrize("path", list(files("workflows")), ids=lambda path: path.name)
def test_no_clock_chance_or_io(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            assert not {alias.name for alias in node.names} & FORBIDDEN_MODULES
        if isinstance(node, ast.ImportFrom):
            assert node.module not in FORBIDDEN_MODULES
            assert not {f"{node.module}.{alias.name}" for alias in node.names} & FORBIDDEN_MODULES
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in FORBIDDEN_CALLS


@pytest.mark.parametrize("path", PARTS, ids=lambda path: path.name)
def test_passed_through_parts_define_no_workflow_and_keep_no_state(path: Path) -> None:
    module = tree(path)
    assert "workflow.defn" not in ast.unparse(module)
    for node in module.body:
        if isinstance(node, ast.Assign):
            assert not isinstance(node.value, ast.List | ast.Dict | ast.Set), "module state would be shared by all runs"


def test_every_part_of_a_workflow_is_listed() -> None:
    listed = {name.removeprefix("workflows.") for name in PASSTHROUGH if name.startswith("workflows.")}
    defining = {path.stem for path in files("workflows") if "@workflow.defn" in path.read_text()}
    present = {path.stem for path in (ROOT / "workflows").glob("*.py")} - {"__init__"}
    assert listed == present - defining
