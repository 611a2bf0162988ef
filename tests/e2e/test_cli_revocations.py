"""`soma revocation`, run as an operator runs it, against one running stack."""

from __future__ import annotations

import json
import time

import httpx2
import pytest
from soma_command import Soma

pytestmark = pytest.mark.timeout(300)


def status(serving: Soma, token: str) -> int:
    address = serving.environment()["PUBLIC_URL"]
    return httpx2.get(f"{address}/v1/sessions", headers={"Authorization": f"Bearer {token}"}, trust_env=False).status_code


def test_a_token_is_out_and_the_next_one_is_not(serving: Soma) -> None:
    token = serving.ok("token").strip()
    assert status(serving, token) == 200
    said = serving.ok("revocation", "create", "--all", "--reason", "A drill.")
    revocation_id = said.partition(":")[0]
    assert "tokens issued until" in said
    time.sleep(1)  # what the gateway may remember
    assert status(serving, token) == 401
    assert status(serving, serving.ok("token").strip()) == 200
    (listed,) = json.loads(serving.ok("revocation", "list", "--json"))["revocations"]
    assert (listed["revocation_id"], listed["kind"], listed["value"], listed["reason"]) == (
        revocation_id,
        "all",
        None,
        "A drill.",
    )
    assert revocation_id in serving.ok("revocation", "list")


def test_what_names_no_tokens_is_said(serving: Soma) -> None:
    for options in ((), ("--all", "--jti", "x"), ("--client", "x", "--subject", "y")):
        wrong = serving("revocation", "create", *options)
        assert wrong.returncode == 2
        assert "one of --jti, --client, --subject and --all" in " ".join(wrong.stderr.split())
