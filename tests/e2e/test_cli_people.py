"""`soma user` and `soma login`, run as a user runs them, with an HTTP client as the browser."""

from __future__ import annotations

import json
import os
import stat
from urllib.parse import urlsplit

import httpx2
import pytest
from browser import Browser, Person, activated
from soma_command import Soma

pytestmark = pytest.mark.timeout(300)


async def test_a_user_is_made_logs_in_by_the_browser_and_asks_as_themself(serving: Soma) -> None:
    made = json.loads(serving.ok("user", "create", "ada", "--role", "viewer", "--json"))
    address = serving.environment()["PUBLIC_URL"]
    person = await activated(address, made, "demo")
    login = serving.start("login", "--no-browser", "--within", "60")
    assert login.stdout is not None
    shown = urlsplit(login.stdout.readline().strip())
    async with Browser(address) as browser:
        page = await browser.open(f"{shown.path}?{shown.query}")
        answer = await browser.send(page, **person.typed())
        assert answer.status_code == 303, answer.text
        redirect = answer.headers["Location"]
        origin = redirect.partition("/callback")[0]
        # Who does not know the state is not listened to.
        assert httpx2.get(f"{origin}/callback?code=x&state=y", trust_env=False).status_code == 404
        assert "close this page" in httpx2.get(redirect, trust_env=False).text
    assert login.wait(30) == 0, login.stdout.read()
    path = serving.home / "keys" / "demo-login.json"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert made["user"]["user_id"] in serving.ok("user", "list")
    refused = serving("user", "create", "bob")
    assert refused.returncode == 1
    assert "user:write" in refused.stderr
    path.write_text(json.dumps(json.loads(path.read_text()) | {"expires_at": 0}))
    expired = serving("user", "list")
    assert (expired.returncode, "soma login" in expired.stderr) == (1, True)
    serving.ok("logout")
    assert serving.ok("user", "invite", made["user"]["user_id"]).startswith("soma_inv_demo.")
    assert serving.ok("user", "delete", made["user"]["user_id"]).strip() == f"Deleted {made['user']['user_id']}."


async def logged_in(serving: Soma, person: Person) -> None:
    """The other commands then ask as that person."""
    login = serving.start("login", "--no-browser", "--within", "60")
    assert login.stdout is not None
    shown = urlsplit(login.stdout.readline().strip())
    async with Browser(serving.environment()["PUBLIC_URL"]) as browser:
        page = await browser.open(f"{shown.path}?{shown.query}")
        answer = await browser.send(page, **person.typed())
        httpx2.get(answer.headers["Location"], trust_env=False)
    assert login.wait(30) == 0, login.stdout.read()


async def test_two_people_release_a_kill_switch(serving: Soma) -> None:
    address = serving.environment()["PUBLIC_URL"]
    people = [
        await activated(address, json.loads(serving.ok("user", "create", name, "--role", "approver", "--json")), "demo")
        for name in ("carla", "dora")
    ]
    engaged = json.loads(serving.ok("kill-switch", "engage", "tool", "printer", "--reason", "It prints money.", "--json"))
    refused = serving("kill-switch", "release", engaged["switch_id"])
    assert (refused.returncode, "Two people must approve" in refused.stderr) == (1, True)
    proposed = serving.ok("kill-switch", "release", engaged["switch_id"], "--propose")
    approval_id = proposed.partition(":")[0]
    try:
        for number, person in enumerate(people, 1):
            await logged_in(serving, person)
            assert f"approved by {number} of 2" in serving.ok("approval", "approve", approval_id, "--yes")
            again = serving("approval", "approve", approval_id, "--yes")
            assert again.returncode == 1
    finally:
        serving.ok("logout")
    assert approval_id in serving.ok("approval", "list")
    assert "is released" in serving.ok("kill-switch", "release", engaged["switch_id"])
    assert "released" in serving.ok("kill-switch", "show", engaged["switch_id"])
