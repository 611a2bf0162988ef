"""`soma client`, `soma role` and `soma tenant`, run as an operator runs them, against one running stack."""

from __future__ import annotations

import json
import time

import httpx2
import pytest
from soma_command import Soma

pytestmark = pytest.mark.timeout(300)


def token(serving: Soma, pair: str, scope: str = "") -> httpx2.Response:
    """What the token endpoint answers to ID:SECRET."""
    client_id, _, secret = pair.strip().partition(":")
    form = {"grant_type": "client_credentials"} | ({"scope": scope} if scope else {})
    address = serving.environment()["PUBLIC_URL"]
    return httpx2.post(f"{address}/v1/oauth/token", data=form, auth=(client_id, secret), trust_env=False)


def test_a_role_and_a_client_from_making_to_their_end(serving: Soma) -> None:
    said = serving.ok("role", "create", "document-clerk", "document:read", "session:read:ses_1*")
    assert said == "Made the role document-clerk.\n"
    taken = serving("role", "create", "document-c1erk", "document:read")
    assert (taken.returncode, taken.stderr) == (1, "soma: A role has that name, or one that looks like it; choose another.\n")
    listed = serving.ok("role", "list")
    assert "document-clerk" in listed
    assert "built in" in listed

    made = serving("client", "create", "billing service", "--role", "document-clerk", "--scope", "slm:read", "--key", "billing")
    assert made.returncode == 0, made.stderr
    client_id = made.stdout.partition(":")[0]
    assert "shown this once" in made.stderr
    again = serving("client", "create", "billing service", "--role", "document-clerk", "--scope", "slm:read", "--key", "billing")
    assert (again.returncode, again.stdout) == (1, "")
    assert token(serving, made.stdout).json()["scope"].split() == ["slm:read", "document:read", "session:read:ses_1*"]

    assert serving("role", "delete", "document-clerk").returncode == 1
    assert serving.ok("role", "replace", "document-clerk", "document:read") == "Replaced the role document-clerk.\n"
    changed = json.loads(serving.ok("client", "change", client_id, "--name", "billing", "--role", "viewer", "--json"))
    assert (changed["name"], changed["roles"], changed["scopes"]) == ("billing", ["viewer"], ["slm:read"])
    assert serving.ok("role", "delete", "document-clerk") == "Deleted the role document-clerk.\n"

    rotated = serving.ok("client", "rotate", client_id, "--overlap", "600")
    assert [token(serving, pair).status_code for pair in (made.stdout, rotated)] == [200, 200]
    assert client_id in serving.ok("client", "list", "--enabled")
    assert serving.ok("client", "disable", client_id) == f"Disabled {client_id}.\n"
    assert token(serving, rotated).status_code == 401
    assert client_id in serving.ok("client", "list", "--disabled")


def test_a_tenant_from_making_to_its_end(serving: Soma) -> None:
    missing = serving("tenant", "list")
    assert missing.returncode == 3
    assert "soma bootstrap --tenant system" in missing.stderr
    assert "client system-admin made" in serving.ok("bootstrap", "--tenant", "system")

    made = serving("tenant", "create", "globex", "--name", "Globex", "--requests-per-minute", "600", "--region", "local")
    assert made.returncode == 0, made.stderr
    held = token(serving, made.stdout, "session:read").json()["access_token"]
    sessions = f"{serving.environment()['PUBLIC_URL']}/v1/sessions"
    headers = {"Authorization": f"Bearer {held}"}
    assert httpx2.get(sessions, headers=headers, trust_env=False).status_code == 200

    changed = json.loads(serving.ok("tenant", "change", "globex", "--plan", "trial", "--requests-per-minute", "0", "--json"))
    assert (changed["plan"], changed["limits"], changed["residency"]) == ("trial", {"requests_per_minute": None}, ["local"])
    assert json.loads(serving.ok("tenant", "change", "globex", "--anywhere", "--json"))["residency"] == []
    assert "Globex" in serving.ok("tenant", "list", "--current")
    assert serving.ok("tenant", "delete", "globex") == "Deleted globex.\n"
    time.sleep(1)  # what the gateway may remember
    assert httpx2.get(sessions, headers=headers, trust_env=False).status_code == 401
    assert token(serving, made.stdout).status_code == 401
    assert "Globex" in serving.ok("tenant", "list", "--deleted")
    stays = serving("tenant", "delete", "system")
    assert (stays.returncode, "platform's own tenant" in stays.stderr) == (1, True)
