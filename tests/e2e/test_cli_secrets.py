"""`soma secret`, run as a user runs it. No server is needed for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from soma_command import ROOT


def soma(home: Path, *arguments: str, given: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "workers.cli.main", "secret", *arguments],
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "SOMA_HOME": str(home), "PYTHONPATH": str(ROOT), **env},
    )


def test_secrets_are_set_listed_and_deleted_and_never_shown(tmp_path: Path) -> None:
    home = tmp_path / "a home"
    done = [
        soma(home, "set", "models/openai", given="sk-geheim\n"),
        soma(home, "set", "models/openai", "--json", given="sk-geheim-2\n"),
        soma(home, "list", "--json"),
        soma(home, "list"),
    ]
    assert [run.returncode for run in done] == [0] * 4, [run.stderr for run in done]
    assert json.loads(done[1].stdout) == {"name": "models/openai", "version": 2}
    assert json.loads(done[2].stdout) == [{"name": "models/openai", "version": 2}]
    assert "geheim" not in "".join(run.stdout + run.stderr for run in done)
    assert soma(home, "delete", "models/openai").returncode == 0
    gone = soma(home, "delete", "models/openai")
    assert (gone.returncode, "There is no secret" in gone.stderr) == (3, True)


def test_what_is_called_wrongly_changes_nothing(tmp_path: Path) -> None:
    wrong = [
        soma(tmp_path, "set", "models/openai", "sk-geheim"),
        soma(tmp_path, "set", "sk-Geheim", given="x"),
        soma(tmp_path, "set", "models/openai", given=""),
        soma(tmp_path, "set", "models/openai", given="x", SECRETS_STORE="vault"),
    ]
    assert [run.returncode for run in wrong] == [2] * 4, [run.stderr for run in wrong]
    assert "Geheim" not in wrong[1].stderr
    assert "vault kv put" in wrong[3].stderr
    assert json.loads(soma(tmp_path, "list", "--json").stdout) == []
