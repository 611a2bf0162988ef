"""Each ticked line of docs/sprints names what proves it, and that exists."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SPRINTS = ROOT / "docs/sprints"
NAMES = ["0", "1", "2", "2-5", "2-6", "3", "4", "5", "6", "7", "8", "9", "10"]
ITEM = re.compile(r"^- \[(?P<mark>.)\] (?P<text>.+)$")
PROOF = re.compile(r"(?:test|command): ")


def ticked(page: str) -> list[str]:
    """The ticked lines of a checklist. Raises ValueError for a box that is neither `[ ]` nor `[x]`."""
    found: list[str] = []
    for line in page.splitlines():
        if line.lstrip().startswith(("- [", "* [")) and "](" not in line:
            match = ITEM.match(line)
            if match is None or match["mark"] not in " x":
                raise ValueError(f"write it as `- [ ] text` or `- [x] text — test: …`: {line}")
            if match["mark"] == "x":
                found.append(match["text"])
    return found


def faults(text: str) -> list[str]:
    """What is wrong with a ticked line's proofs; empty when each exists."""
    _, dash, proofs = text.rpartition(" — ")
    if not dash or not PROOF.match(proofs):
        return [f"names no proof: {text}"]
    wrong: list[str] = []
    for proof in proofs.split("; "):
        kind, _, name = proof.strip("`").partition(": ")
        name = name.strip("`")
        exists = {"test": has_test, "command": has_command}.get(kind)
        if exists is None or not exists(name):
            wrong.append(f"{kind} does not exist: {name}")
    return wrong


def defines_test(path: Path, names: list[str]) -> bool:
    """Whether the file defines the test: `name` or `Class::name`."""
    if not path.is_file():
        return False
    body: list[ast.stmt] = ast.parse(path.read_text()).body
    for name in names:
        found = [
            node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name == name
        ]
        if not found:
            return False
        body = found[-1].body
    return names[-1].startswith("test_")


def has_test(name: str) -> bool:
    """`tests/…/test_x.py::test_name`; a parametrised case may be named in brackets."""
    path, *names = name.partition("[")[0].split("::")
    return bool(names) and path.startswith("tests/") and defines_test(ROOT / path, names)


@cache
def has_command(name: str) -> bool:
    """`make target` or `soma command …`, without running it."""
    program, *words = name.split()
    if not words:
        return False
    if program == "make":
        makefile = ROOT / "Makefile"
        return makefile.is_file() and re.search(rf"^{re.escape(words[0])}:", makefile.read_text(), re.MULTILINE) is not None
    if program == "soma":
        command = [sys.executable, "-m", "workers.cli.main", *(word for word in words if not word.startswith("-")), "--help"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, check=False, timeout=30).returncode == 0
    return False


def test_every_sprint_has_its_checklist() -> None:
    assert sorted(path.stem for path in SPRINTS.glob("sprint-*.md")) == sorted(f"sprint-{name}" for name in NAMES)
    index = (SPRINTS / "README.md").read_text()
    assert [name for name in NAMES if f"(sprint-{name}.md)" not in index] == []


@pytest.mark.parametrize("name", NAMES)
def test_ticked_lines_are_proven(name: str) -> None:
    page = (SPRINTS / f"sprint-{name}.md").read_text()
    assert [fault for text in ticked(page) for fault in faults(text)] == []
    assert "- [" in page


HERE = "tests/invariants/test_sprint_checklists.py"


@pytest.mark.parametrize(
    "text",
    [
        "Done, believe me",
        "Done — by hand",
        "Done — test: tests/unit/test_nowhere.py::test_it",
        f"Done — test: {HERE}::test_that_is_not_there",
        f"Done — test: {HERE}::faults",
        f"Done — test: {HERE}",
        f"Done — test: {HERE}::test_every_sprint_has_its_checklist; test: {HERE}::test_gone",
        "Done — command: make no-such-target",
        "Done — command: make",
        "Done — command: curl http://127.0.0.1",
    ],
)
def test_an_unproven_line_is_found(text: str) -> None:
    assert faults(text)


def test_a_proven_line_is_accepted() -> None:
    assert faults(f"Done — and well — test: {HERE}::test_every_sprint_has_its_checklist") == []
    assert faults(f"Done — test: `{HERE}::test_ticked_lines_are_proven[0]`; test: {HERE}::test_a_proven_line_is_accepted") == []


@pytest.mark.parametrize("line", ["- [X] loud", "- [-] half", "* [x] star", "  - [x] indented", "- [] nothing"])
def test_a_malformed_box_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="write it as"):
        ticked(line)
