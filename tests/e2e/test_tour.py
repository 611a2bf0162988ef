"""`soma tour`: every step really seen, and none claimed that was not."""

from __future__ import annotations

import json
import shutil

import pytest
from soma_command import Soma, eventually

pytestmark = pytest.mark.timeout(400)


def test_the_tour_sees_every_step(serving: Soma) -> None:
    before = serving.pid("worker")
    done = serving("tour", "--json", timeout=300)
    record = json.loads(done.stdout)
    troubles = {step["name"]: step["trouble"] for step in record["steps"] if not step["seen"]}
    assert (done.returncode, record["ok"], troubles) == (0, True, {}), done.stderr
    steps = {step["name"]: step for step in record["steps"]}
    assert list(steps) == ["answer", "moderation", "policy", "killed-worker", "events"]
    ui = f"http://127.0.0.1:{serving.ports['temporal-ui']}/namespaces/default/workflows/session%2Fdemo%2Fses_"
    for name in ("answer", "moderation", "policy", "killed-worker"):
        assert steps[name]["workflow_id"].startswith("session/demo/ses_")
        assert steps[name]["temporal_url"].startswith(ui)

    assert "8080" in steps["answer"]["facts"]["answer"]
    assert steps["answer"]["facts"]["model"] == "soma-extractive"
    assert steps["answer"]["facts"]["cited"]
    assert steps["moderation"]["facts"]["status"] == 403
    assert steps["moderation"]["facts"]["reasons"][0].startswith("moderation: ")
    assert steps["policy"]["facts"]["reasons"][0].startswith("policy: persona-without-limits: ")

    killed = steps["killed-worker"]["facts"]
    # A kill that came too late is tried again with the worker that took its place.
    assert killed["killed_pid"] == before or "kills that came too late" in killed
    assert killed["in activity"].startswith("slm.complete, attempt 1")
    assert killed["attempt in the history"] >= 2
    assert serving.pid("worker") != killed["killed_pid"]

    events = steps["events"]["facts"]
    assert "2 session.denied" in events["session.events"]
    assert "slm_call.recorded unknown" in events["slm.metrics"]
    assert "2 decision.recorded deny" in events["policy.decisions"]
    assert events["moderation.events"] == "1 content.flagged high"


def test_a_worker_that_is_not_this_homes_is_left_alone_and_the_step_not_claimed(serving: Soma, soma: Soma) -> None:
    eventually(lambda: serving.state()["processes"]["worker"]["phase"] == "ready", seconds=60)
    before = serving.pid("worker")
    keys = soma.home / "keys"
    keys.mkdir(mode=0o700)
    shutil.copy(serving.home / "keys" / "demo-client.json", keys)
    environment = serving.environment() | {"SOMA_HOME": str(soma.home)}

    done = soma("tour", timeout=300, **environment)

    assert done.returncode == 1
    assert "is no worker of" in done.stdout
    assert "NOT SEEN" in done.stdout
    assert done.stderr == "soma: Not everything was seen: killed-worker, events.\n"
    assert serving.pid("worker") == before
