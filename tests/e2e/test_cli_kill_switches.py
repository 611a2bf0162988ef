"""`soma kill-switch` and its drill, run as an operator runs them, against one running stack."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from soma_command import Soma

pytestmark = pytest.mark.timeout(300)


def test_a_tool_is_stopped_shown_and_proven(serving: Soma, tmp_path: Path) -> None:
    said = serving.ok("kill-switch", "engage", "tool", "mailer", "--reason", "It mails on its own.", "--wait", "60")
    switch_id = said.partition(":")[0]
    assert "tool mailer of tenant demo is stopped since" in said
    assert "Quiet: 0 runs were ended" in said
    assert "It mails on its own." in serving.ok("kill-switch", "show", switch_id)
    assert switch_id in serving.ok("kill-switch", "list")
    file = tmp_path / "statement.json"
    file.write_text(serving.ok("kill-switch", "statement", switch_id))
    assert f"The signature holds. {switch_id}" in serving.ok("kill-switch", "verify", str(file))
    envelope = json.loads(file.read_text())
    file.write_text(json.dumps(envelope | {"payload": envelope["payload"][:-8] + "AAAAfQ=="}))
    forged = serving("kill-switch", "verify", str(file))
    assert forged.returncode == 1
    assert "does not hold" in forged.stderr


def test_the_drill_stops_a_tenant_and_proves_it(serving: Soma) -> None:
    serving.ok("bootstrap", "--tenant", "rehearsal")
    told = json.loads(serving.ok("drill", "kill-switch", "--tenant", "rehearsal", "--runs", "3", "--yes", "--json"))
    assert told["new_work_refused"] is True
    assert told["signature"] == "holds"
    assert told["runs_found"] == 3
    assert told["silence_ms"] <= 1000
    again = serving("drill", "kill-switch", "--tenant", "rehearsal", "--yes")
    assert again.returncode != 0
    assert "is engaged" in again.stderr


def test_what_is_called_wrongly_is_said(serving: Soma) -> None:
    refused = serving("kill-switch", "engage", "all", "--reason", "Everything.")
    assert refused.returncode == 1
    assert "for the platform's operators" in refused.stderr
    assert serving("kill-switch", "engage", "tenant").returncode == 2
    assert serving("drill", "kill-switch", "--tenant", "demo").returncode == 1
