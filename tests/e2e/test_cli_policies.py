"""`soma policy`, run as an operator runs it, against one running stack."""

from __future__ import annotations

import json
import time

import httpx2
import pytest
from soma_command import Soma

from workers.embedded.constitution import builtin

pytestmark = pytest.mark.timeout(300)

PERMIT = '@id("all") permit(principal, action, resource);\n'
FORBID = '@id("closed") @reason("Closed today.") forbid(principal, action, resource);\n'


def test_policies_are_made_activated_asked_and_replayed(serving: Soma) -> None:
    folder = serving.directory / "policies"
    folder.mkdir()
    (folder / "1-permit.cedar").write_text(PERMIT)
    (folder / "2-forbid.cedar").write_text(FORBID)
    tenant = "policies"
    serving.ok("bootstrap", "--tenant", tenant)
    of = ("--tenant", tenant)
    serving.ok("session", "start", "What is a library?", *of)

    made = json.loads(serving.ok("policy", "create", str(folder / "1-permit.cedar"), "--name", "Open", *of, "--json"))
    assert serving.ok("policy", "show", made["policy_set_id"], *of).strip() == PERMIT.strip()
    assert "version 1 is in force" in serving.ok("policy", "activate", made["policy_set_id"], "--expected", "0", *of)
    time.sleep(1.1)
    asked = ("policy", "evaluate", "session:start", "ses_1", *of)
    assert "tenant" in serving.ok(*asked)
    refused = serving(*asked, "--fact", "persona=jailbroken")
    assert (refused.returncode, "persona-without-limits" in refused.stdout) == (1, True)
    beside = serving.ok(*asked, "--policies", str(folder))
    assert "closed: Closed today." in beside
    assert "deny by closed" in beside

    same = json.loads(serving.ok("policy", "replay", *of, "--json"))
    assert (same["changes"], same["replay"]["identical"]) == ([], same["replay"]["decisions"])
    changed = serving("policy", "replay", "--policies", str(folder), "--since", "7d", *of)
    assert changed.returncode == 1
    assert same["replay"]["decisions"] > 0
    assert f"0 identical, {same['replay']['decisions']} changed, 0 not replayable (completed)" in changed.stdout
    assert "tenant: closed" in changed.stdout
    constitution = serving.directory / "constitution.cedar"
    constitution.write_text(builtin().policies)
    assert serving("policy", "replay", "--policies", str(constitution), "--layer", "constitution", *of).returncode == 0

    metrics = httpx2.get(f"http://127.0.0.1:{serving.ports['worker-admin']}/metrics", trust_env=False).text
    assert 'somagent_policy_decisions_total{layer="constitution",verdict="allow"}' in metrics
    assert 'somagent_policy_decision_seconds_count{verdict="allow"}' in metrics

    assert "is not in force" in serving.ok("policy", "deactivate", made["policy_set_id"], *of)
    (listed,) = json.loads(serving.ok("policy", "list", *of, "--json"))["policy_sets"]
    assert (listed["version"], listed["active"], listed["name"]) == (1, False, "Open")
    assert "Open" in serving.ok("policy", "list", *of)


def test_what_cannot_be_used_is_said(serving: Soma) -> None:
    wrong = serving.directory / "wrong.cedar"
    wrong.write_text(PERMIT + "permit(")
    refused = serving("policy", "create", str(wrong), "--name", "x")
    assert (refused.returncode, "line 2, column 1" in refused.stderr) == (1, True)
    for arguments in (
        ("evaluate", "session:start", "ses_1", "--fact", "score"),
        ("evaluate", "session:start", "ses_1", "--fact", "mood=good"),
        ("evaluate", "session:end", "ses_1"),
        ("replay", "--since", "yesterday"),
        ("replay", "--policies", str(serving.home / "run")),
        ("replay", "--policies", str(serving.directory / "nothing.cedar")),
    ):
        assert serving("policy", *arguments).returncode == 2, arguments
