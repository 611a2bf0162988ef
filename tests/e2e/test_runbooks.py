"""Every command of the runbooks runs, in order, against a running stack. An id with an ellipsis is the last one of its kind."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from soma_command import ROOT, Soma

RUNBOOKS = sorted((ROOT / "docs" / "runbooks").glob("*.md"))
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PLACEHOLDER = re.compile(r"\b([a-z]{3})_…")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", RUNBOOKS, ids=lambda page: page.stem)
def test_its_commands_run(serving: Soma, page: Path) -> None:
    known: dict[str, str] = {}
    commands = [line for block in BLOCK.findall(page.read_text()) for line in block.splitlines() if line.strip()]
    assert commands
    for command in commands:
        whole = PLACEHOLDER.sub(lambda found: known[found[1]], command)
        soma = f"{sys.executable} -m workers.cli.main"
        run = subprocess.run(
            ["/bin/sh", "-c", re.sub(r"^soma\b", soma, whole)],
            env=serving.env,
            cwd=serving.directory,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert run.returncode == 0, f"{whole}\n{run.stdout}{run.stderr}"
        known.update((found[0].partition("_")[0], found[0]) for found in re.finditer(r"\b[a-z]{3}_[0-9a-f]{32}\b", run.stdout))
