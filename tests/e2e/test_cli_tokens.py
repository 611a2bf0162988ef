"""`soma token`, run as a user runs it, against one running stack."""

from __future__ import annotations

import json
import time
from pathlib import Path

import httpx2
import pytest
from soma_command import Soma

pytestmark = pytest.mark.timeout(300)


def status(serving: Soma, token: str, path: str = "/v1/sessions") -> int:
    address = serving.environment()["PUBLIC_URL"]
    return httpx2.get(f"{address}{path}", headers={"Authorization": f"Bearer {token}"}, trust_env=False).status_code


def test_a_token_is_delegated_narrower_and_ends_with_what_it_comes_from(serving: Soma) -> None:
    parent = serving.ok("token").strip()
    made = serving("token", "exchange", "--scope", "session:read", "--expires-in", "60", "--budget-cap", "1000", given=parent)
    assert made.returncode == 0, made.stderr
    child = made.stdout.strip()
    assert [status(serving, child, path) for path in ("/v1/sessions", "/v1/documents")] == [200, 403]
    (budget,) = json.loads(serving.ok("budget", "list", "--scope", "delegation", "--json"))["budgets"]
    assert (budget["unit"], budget["cap"]) == ("tokens", 1000)
    told = json.loads(serving("token", "exchange", "--json", given=child).stdout)
    assert (told["scope"], told["expires_in"] <= 60) == ("session:read", True)

    ended = serving("token", "revoke", given=parent)
    assert (ended.returncode, ended.stdout) == (0, "It is refused from now on.\n")
    time.sleep(1)  # what the gateway may remember
    assert [status(serving, token) for token in (parent, child, told["access_token"])] == [401, 401, 401]
    assert status(serving, serving.ok("token", "--scope", "session:read").strip()) == 200


def test_who_acts_is_named_by_a_token_in_a_file(serving: Soma, tmp_path: Path) -> None:
    own = tmp_path / "own.jwt"
    own.write_text(serving.ok("token", "--scope", "session:read"))
    made = serving("token", "exchange", "--actor-token-file", str(own), "--json", given=serving.ok("token"))
    assert json.loads(made.stdout)["scope"] == "session:read"


def test_what_cannot_be_delegated_or_revoked_is_said(serving: Soma) -> None:
    for command in ("exchange", "revoke"):
        nothing = serving("token", command)
        assert (nothing.returncode, "pipe one into this command" in nothing.stderr) == (2, True)
    bad = serving("token", "exchange", given="nonsense")
    assert (bad.returncode, "does not hold" in bad.stderr) == (2, True)
    wide = serving("token", "exchange", "--scope", "slm:call", given=serving.ok("token", "--scope", "session:read"))
    assert (wide.returncode, "is not within" in wide.stderr) == (2, True)
    assert serving("token", "revoke", given="nonsense").returncode == 0
