"""The hosted pipeline and .ci/run are the same checks, and what the pipeline fetches is pinned."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
RUN = ROOT / ".ci/run"
WORKFLOW: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
STEPS: list[dict[str, Any]] = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]
TARGET = re.compile(r"\bmake ([a-z-]+)")


def test_both_call_the_same_targets_in_the_same_order() -> None:
    script = "\n".join(line for line in RUN.read_text().splitlines() if not line.startswith("#"))
    here = TARGET.findall(script)
    hosted = [target for step in STEPS for target in TARGET.findall(step.get("run", ""))]
    assert here == hosted == ["system", "lint", "test", "test-real", "drills"]


def test_every_target_called_is_one_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert [target for target in TARGET.findall(RUN.read_text()) if target not in targets] == []


def test_the_script_stops_at_the_first_failure() -> None:
    assert os.access(RUN, os.X_OK)
    assert RUN.read_text().startswith("#!/usr/bin/env bash\n")
    assert "\nset -euo pipefail\n" in RUN.read_text()
    assert [step for step in STEPS if step.get("continue-on-error")] == []


def test_actions_are_pinned_by_commit_and_may_only_read() -> None:
    used = re.findall(r"uses: (\S+)(.*)", (ROOT / ".github/workflows/ci.yml").read_text())
    assert used
    for action, comment in used:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), action
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert [job for job in WORKFLOW["jobs"].values() if "permissions" in job] == []


def test_it_ends_within_an_hour() -> None:
    assert sum(job["timeout-minutes"] for job in WORKFLOW["jobs"].values()) <= 60
