"""`soma key`, run as a user runs it, against one running stack."""

from __future__ import annotations

import json
import time

import httpx2
import pytest
from soma_command import Soma

pytestmark = pytest.mark.timeout(300)


def status(serving: Soma, key: str, path: str = "/v1/sessions") -> int:
    address = serving.environment()["PUBLIC_URL"]
    return httpx2.get(f"{address}{path}", headers={"Authorization": f"Bearer {key}"}, trust_env=False).status_code


def test_a_key_is_printed_alone_opens_its_scopes_and_ends(serving: Soma) -> None:
    made = serving("key", "create", "laptop", "--scope", "session:read", "--days", "30", "--key", "laptop-1")
    assert made.returncode == 0, made.stderr
    key, key_id = made.stdout.strip(), made.stderr.partition(":")[0]
    assert key.startswith("soma_sk_")
    assert "shown this once" in made.stderr
    assert key not in made.stderr
    assert status(serving, key) == 200
    assert status(serving, key, "/v1/documents") == 403

    again = serving("key", "create", "laptop", "--scope", "session:read", "--days", "30", "--key", "laptop-1")
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr.startswith(f"{key_id}: The key was shown with the first answer")

    listed = next(each for each in json.loads(serving.ok("key", "list", "--json"))["api_keys"] if each["key_id"] == key_id)
    assert (listed["name"], listed["status"], listed["scopes"]) == ("laptop", "active", ["session:read"])
    assert key_id in serving.ok("key", "list")
    assert key not in serving.ok("key", "list", "--json")

    assert serving.ok("key", "revoke", key_id).strip() == f"Revoked {key_id}."
    assert json.loads(serving.ok("key", "revoke", key_id, "--json"))["status"] == "revoked"
    time.sleep(1)  # what the gateway may remember
    assert status(serving, key) == 401


def test_what_cannot_be_a_key_is_said(serving: Soma) -> None:
    unknown = serving("key", "revoke", "key_nobody")
    assert (unknown.returncode, unknown.stderr) == (1, "soma: No API key has that id.\n")
    wrong = serving("key", "create", "laptop", "--scope", "no:such")
    assert wrong.returncode == 2
    assert "#/scopes/0" in wrong.stderr
    assert serving("key", "create", "laptop", "--days", "0").returncode == 2
