"""`soma budget`, `soma usage` and `soma ledger`, run as an operator runs them, against a running stack."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from soma_command import Soma

pytestmark = pytest.mark.timeout(300)


def test_a_budget_is_set_spent_and_shown(soma: Soma) -> None:
    """On a stack of its own: the budget bounds whatever the tenant does, and its usage is all there is."""
    serving = soma
    serving.ok("up", "--detach", timeout=240)
    made = json.loads(serving.ok("budget", "set", "5000000", "--json"))
    assert (made["scope"], made["unit"], made["cap"]) == ("tenant", "tokens", 5_000_000)
    assert "12.50 USD" in serving.ok("budget", "set", "12.50", "--unit", "USD")
    listed = serving.ok("budget", "list", "--scope", "tenant")
    assert made["budget_id"] in listed
    assert "12.50" in listed
    serving.ok("session", "start", "What is a library?")
    spent = json.loads(serving.ok("budget", "show", made["budget_id"], "--json"))
    assert spent["settled"] > 0
    refused = serving("budget", "set", "0")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"{spent['settled']} settled" in refused.stderr
    assert serving("budget", "set", "1.5").returncode == 2
    assert serving("budget", "set", "1", "--scope", "session").returncode == 2

    used = json.loads(serving.ok("usage", "--by", "day", "--by", "lane", "--json"))["usage"]
    assert sum(row["input_tokens"] + row["output_tokens"] for row in used) == spent["settled"]
    assert {row["group"]["lane"] for row in used} == {"interactive"}
    assert "interactive" in serving.ok("usage", "--by", "lane", "--since", "2026-01-01")
    assert serving("usage", "--since", "yesterday").returncode == 2


def test_a_report_that_nothing_explains_is_listed_and_changes_nothing(serving: Soma, tmp_path: Path) -> None:
    file = tmp_path / "usage.csv"
    file.write_text("idempotency_key,input_tokens,output_tokens\nnobody/knows,7,3\n")
    told = serving("ledger", "reconcile", str(file), "--provider", "openai")
    assert told.returncode == 1
    assert "1 lines: 0 calls would be settled, 0 would be released." in told.stdout
    assert "nobody/knows" in told.stdout
    assert "--apply changes it" in told.stdout
    applied = serving("ledger", "reconcile", str(file), "--provider", "openai", "--apply", "--json")
    assert json.loads(applied.stdout)["unmatched"] == 1
    file.write_text("idempotency_key,input_tokens\nnobody/knows,7\n")
    assert serving("ledger", "reconcile", str(file), "--provider", "openai").returncode == 2
