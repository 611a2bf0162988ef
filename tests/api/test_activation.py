"""Invitations are taken over HTTP, by the forms that the pages show: once, in time, and with nothing secret left behind."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from browser import PASSWORD, Browser, Person, Pkce, activated, code_for, fields_of, redeemed, token_of
from live import Caller, Live

from adapters.postgres.connection import tenant_transaction
from domain.totp import STEP_SECONDS, code_at, written_seed

PAGE = "/v1/activation"


async def invited(caller: Caller, name: str = "ada") -> dict[str, Any]:
    answer = await caller.post("/v1/users", {"name": name, "display_name": name, "roles": ["member"]})
    assert answer.status_code == 201, answer.text
    return answer.json()


def code_on(page: httpx2.Response, off: int = 0) -> str:
    """The app's code for the key that the page shows."""
    key = page.text.partition("<code>")[2].partition("</code>")[0]
    return code_at(base64.b32decode(key), int(time.time()) // STEP_SECONDS + off)


async def second(browser: Browser, invitation: str) -> httpx2.Response:
    return await browser.send(await browser.open(PAGE), invitation=invitation)


async def test_an_invitation_is_taken_once(product: Live, caller: Caller) -> None:
    made = await invited(caller)
    async with Browser(product.url) as browser:
        pages = [await second(browser, made["invitation"]) for _ in range(4)]
        assert len({fields_of(page.text)["seed"] for page in pages}) == 4
        sent = (browser.send(page, password=PASSWORD, again=PASSWORD, code=code_on(page)) for page in pages)
        answers = await asyncio.gather(*sent)
        assert sorted(answer.status_code for answer in answers) == [200, 403, 403, 403]
        assert (await second(browser, made["invitation"])).status_code == 403
    user = (await caller.get(f"/v1/users/{made['user']['user_id']}")).json()
    assert (user["status"], user["invitation_expires_at"]) == ("active", None)
    async with tenant_transaction(product.pool, caller.tenant) as connection:
        # What the others stored is nobody's, and goes with the next login of the user.
        assert await connection.fetchval("SELECT count(*) FROM user_logins JOIN users USING (tenant_id, login_id)") == 1


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"password": "short", "again": "short"}, "12 to 256"),
        ({"password": "x" * 257, "again": "x" * 257}, "12 to 256"),
        ({"password": "a" * 20, "again": "a" * 20}, "easily guessed"),
        ({"password": "this is Ada herself", "again": "this is Ada herself"}, "easily guessed"),
        ({"again": "another battery staple"}, "passwords differ"),
        ({"code": "000000"}, "not the app"),
        ({"code": "' OR 1=1 --"}, "not the app"),
        ({"seed": "AAAA"}, "Start again"),
        ({"seed": "?"}, "Start again"),
    ],
)
async def test_what_is_wrong_is_said_and_activates_nobody(
    product: Live, caller: Caller, typed: dict[str, str], said: str
) -> None:
    made = await invited(caller)
    async with Browser(product.url) as browser:
        page = await second(browser, made["invitation"])
        answer = await browser.send(page, **({"password": PASSWORD, "again": PASSWORD, "code": code_on(page)} | typed))
    assert 400 <= answer.status_code < 500
    assert said in answer.text
    assert PASSWORD not in answer.text
    assert (await caller.get(f"/v1/users/{made['user']['user_id']}")).json()["status"] == "invited"


async def test_a_seed_is_for_its_invitation_alone(product: Live, caller: Caller) -> None:
    ada, bob = await invited(caller), await invited(caller, "bob")
    async with Browser(product.url) as browser:
        of_bob = await second(browser, bob["invitation"])
        typed = {"password": PASSWORD, "again": PASSWORD, "code": code_on(of_bob), "invitation": ada["invitation"]}
        assert (await browser.send(of_bob, **typed)).status_code == 400
    assert (await caller.get("/v1/users?status=active")).json()["users"] == []


@pytest.mark.parametrize(
    "code", ["", "nonsense", "soma_inv_demo." + "A" * 43, "soma_inv_';--." + "A" * 43, "x" * 500, "a\0b", "<script>"]
)
async def test_what_is_no_invitation_is_refused(product: Live, code: str) -> None:
    async with Browser(product.url) as browser:
        answer = await second(browser, code)
    assert answer.status_code in (400, 403)
    assert "<script>" not in answer.text


async def test_an_invitation_expires(product: Live, caller: Caller) -> None:
    made = await invited(caller)
    async with Browser(product.url) as browser:
        page = await second(browser, made["invitation"])
        async with tenant_transaction(product.pool, caller.tenant) as connection:
            await connection.execute("UPDATE users SET invitation_expires_at = clock_timestamp()")
        answer = await browser.send(page, password=PASSWORD, again=PASSWORD, code=code_on(page))
    assert answer.status_code == 403
    assert (await caller.get(f"/v1/users/{made['user']['user_id']}")).json()["status"] == "invited"


async def test_who_takes_another_invitation_logs_in_with_what_is_new(product: Live, caller: Caller) -> None:
    first = await activated(product.url, await invited(caller), caller.tenant)
    token = await token_of(product.url, first)
    again = await caller.post(f"/v1/users/{first.user_id}/invite")
    headers = {"Authorization": f"Bearer {token}"}
    # Until it is taken nothing changes, so nobody is locked out by an invitation.
    assert (await caller.http.get("/v1/sessions", headers=headers)).status_code == 200
    async with Browser(product.url) as browser:
        page = await second(browser, again.json()["invitation"])
        done = await browser.send(page, password=PASSWORD + " 2", again=PASSWORD + " 2", code=code_on(page))
        assert done.status_code == 200
    await asyncio.sleep(1)
    assert (await caller.http.get("/v1/sessions", headers=headers)).status_code == 401
    key = page.text.partition("<code>")[2].partition("</code>")[0]
    renewed = Person(first.tenant, first.user_id, first.name, base64.b32decode(key), PASSWORD + " 2")
    with pytest.raises(AssertionError):
        await token_of(product.url, first)
    assert await token_of(product.url, renewed)
    async with tenant_transaction(product.pool, caller.tenant) as connection:
        assert await connection.fetchval("SELECT count(*) FROM user_logins") == 1


async def test_nothing_secret_is_left_anywhere(product: Live, caller: Caller, log_file: Path) -> None:
    made = await invited(caller)
    person = await activated(product.url, made, caller.tenant)
    pkce = Pkce()
    code = await code_for(product.url, person, pkce)
    token = (await redeemed(product.url, pkce.form(code))).json()["access_token"]
    secrets = [PASSWORD, written_seed(person.seed), person.seed.hex(), made["invitation"], code, pkce.verifier, token]
    kept: list[str] = [await asyncio.to_thread(log_file.read_text)]
    tables = ("users", "user_logins", "login_attempts", "authorization_codes", "outbox", "idempotency_keys", "blobs")
    for tenant, names in ((caller.tenant, tables), ("system", ("sign_ins", "login_attempts"))):
        async with tenant_transaction(product.pool, tenant) as connection:
            for table in names:
                kept += [str(dict(row.items())) for row in await connection.fetch(f"TABLE {table}")]
    codec = product.temporal.data_converter.payload_codec
    assert codec is not None
    async for listed in product.temporal.list_workflows(f'TenantId = "{caller.tenant}"'):
        async for event in product.temporal.get_workflow_handle(listed.id).fetch_history_events():
            started = event.workflow_execution_started_event_attributes.input.payloads
            kept += [payload.data.decode() for payload in await codec.decode(list(started))]
    everything = "\n".join(kept)
    assert hashlib.sha256(made["invitation"].encode()).hexdigest() in everything
    assert "$argon2id$" in everything
    assert str(person.seed)[2:-1] not in everything
    assert [secret for secret in secrets if secret in everything] == []
