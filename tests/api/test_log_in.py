"""People log in: the authorization code grant with PKCE, a password and a one-time password, on real servers."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any

import httpx2
import pytest
from browser import PASSWORD, REDIRECT, Browser, Person, Pkce, activated, code_for, fields_of, led_to, redeemed, token_of
from live import PUBLIC_URL, Caller, Live

from adapters.postgres.connection import tenant_transaction
from domain.names import Scope
from domain.sign_in import FREE_FAILURES, FREE_FAILURES_BY_ADDRESS, lock_seconds

AUTHORIZE = "/v1/oauth/authorize"
TEXTS = ("tenant", "name", "password", "code")


@pytest.fixture(autouse=True)
async def fresh_address(product: Live) -> None:
    """All tests come from one address: what earlier ones failed at is not counted, and nothing waits for a minute to pass."""
    async with tenant_transaction(product.pool, "system") as connection:
        await connection.execute("DELETE FROM login_attempts")


async def invited(caller: Caller, name: str = "ada", *roles: str) -> dict[str, Any]:
    answer = await caller.post("/v1/users", {"name": name, "display_name": name, "roles": list(roles or ("member",))})
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.fixture
async def person(product: Live, caller: Caller) -> Person:
    """A member who has activated their account."""
    return await activated(product.url, await invited(caller), caller.tenant)


async def forget_step(product: Live, person: Person) -> None:
    """As if so much time had passed that every code is a new one."""
    async with tenant_transaction(product.pool, person.tenant) as connection:
        await connection.execute("UPDATE users SET totp_step = NULL WHERE user_id = $1", person.user_id)


async def status(product: Live, token: str, path: str = "/v1/sessions") -> int:
    async with httpx2.AsyncClient(base_url=product.url, trust_env=False) as http:
        return (await http.get(path, headers={"Authorization": f"Bearer {token}"})).status_code


async def tried(product: Live, person: Person, **typed: str) -> httpx2.Response:
    async with Browser(product.url) as browser:
        page = await browser.open(AUTHORIZE, **Pkce().query())
        return await browser.send(page, **(person.typed() | typed))


async def test_a_person_logs_in_and_gets_a_token_of_their_own(product: Live, caller: Caller, person: Person) -> None:
    token = await token_of(product.url, person)
    actor = product.services.tokens.verify(token)
    assert (actor.tenant_id, actor.subject, actor.client_id) == (caller.tenant, person.user_id, "soma-cli")
    assert actor.amr == ("pwd", "otp", "mfa")
    assert Scope.SESSION_START.value in actor.scopes
    assert Scope.USER_WRITE.value not in actor.scopes
    assert (await status(product, token), await status(product, token, "/v1/users")) == (200, 403)
    read = (await caller.get(f"/v1/users/{person.user_id}")).json()
    assert read["status"] == "active"
    assert read["last_login_at"] is not None
    events = [event["type"] for event in (await caller.get("/v1/events?topic=identity.events")).json()["events"]]
    assert events == [f"somagent.{name}.v1" for name in ("user.created", "user.activated", "login.succeeded")]


async def test_what_a_person_starts_is_theirs_and_keys_are_each_ones_own(product: Live, caller: Caller, person: Person) -> None:
    other = await activated(product.url, await invited(caller, "bob"), caller.tenant)
    started: list[dict[str, Any]] = []
    async with httpx2.AsyncClient(base_url=product.url, trust_env=False, timeout=60) as http:
        for somebody in (person, other):
            headers = {"Authorization": f"Bearer {await token_of(product.url, somebody)}", "Idempotency-Key": "same"}
            answer = await http.post("/v1/sessions/start", json={}, headers=headers)
            assert answer.status_code == 201, answer.text
            started.append((await caller.get(f"/v1/sessions/{answer.json()['session_id']}")).json()["session"])
    assert [session["subject"] for session in started] == [person.user_id, other.user_id]


async def test_scopes_may_be_narrowed_and_never_widened(product: Live, person: Person) -> None:
    token = await token_of(product.url, person, scope="session:read")
    assert product.services.tokens.verify(token).scopes == ("session:read",)
    await forget_step(product, person)
    async with Browser(product.url) as browser:
        page = await browser.open(AUTHORIZE, **Pkce().query(scope="user:write"))
        assert led_to(await browser.send(page, **person.typed()))["error"] == "invalid_scope"
        assert led_to(await browser.open(AUTHORIZE, **Pkce().query(scope="no:such")))["error"] == "invalid_scope"


async def test_a_one_time_password_is_good_once(product: Live, caller: Caller, person: Person) -> None:
    typed = person.typed()
    async with Browser(product.url) as browser:
        first = await browser.open(AUTHORIZE, **Pkce().query())
        assert "code" in led_to(await browser.send(first, **typed))
        again = await browser.send(await browser.open(AUTHORIZE, **Pkce().query()), **typed)
        earlier = await browser.send(await browser.open(AUTHORIZE, **Pkce().query()), **person.typed(0))
    assert (again.status_code, earlier.status_code) == (403, 403)
    failed = [event["data"] for event in (await caller.get("/v1/events?topic=identity.events")).json()["events"][-2:]]
    assert failed == [{"user_id": person.user_id, "reason": "replayed"}] * 2


async def test_of_many_with_one_code_one_logs_in(product: Live, person: Person) -> None:
    typed = person.typed()
    async with Browser(product.url) as browser:
        pages = [await browser.open(AUTHORIZE, **Pkce().query()) for _ in range(FREE_FAILURES)]
        cookies = [page.headers["set-cookie"].partition(";")[0] for page in pages]
        browser.cookie = ""
        sent = (browser.send(page, {"Cookie": cookie}, **typed) for page, cookie in zip(pages, cookies, strict=True))
        answers = await asyncio.gather(*sent)
    assert sorted(answer.status_code for answer in answers) == [303] + [403] * (FREE_FAILURES - 1)


@pytest.mark.parametrize(
    "typed",
    [
        {"password": "wrong horse battery"},
        {"password": PASSWORD.upper()},
        {"password": "x" * 100_00},
        {"password": ""},
        {"code": "000000"},
        {"code": ""},
        {"name": "nobody"},
        {"name": "ada' OR '1'='1"},
        {"name": ""},
        {"tenant": "system"},
        {"tenant": "no-such-tenant"},
        {"tenant": "'; DROP TABLE users; --"},
        {"tenant": "../x"},
    ],
)
async def test_what_is_wrong_looks_the_same_and_gives_nothing(product: Live, person: Person, typed: dict[str, str]) -> None:
    answer = await tried(product, person, **typed)
    if len(typed.get("password", "")) > 9000:
        assert answer.status_code == 413
        return
    assert answer.status_code == 403, answer.text
    assert "is wrong, or the code was used already" in answer.text
    assert "Location" not in answer.headers
    assert person.password not in answer.text
    async with tenant_transaction(product.pool, person.tenant) as connection:
        assert await connection.fetchval("SELECT count(*) FROM authorization_codes") == 0
    # Nobody is kept out by one mistake.
    await forget_step(product, person)
    assert await token_of(product.url, person)


async def test_failures_lock_for_longer_and_longer(product: Live, caller: Caller, person: Person) -> None:
    for _ in range(FREE_FAILURES + 1):
        assert (await tried(product, person, password="wrong horse battery")).status_code == 403
    locked = await tried(product, person)
    assert (locked.status_code, int(locked.headers["Retry-After"]) <= lock_seconds(FREE_FAILURES + 1)) == (429, True)
    # Also for a name nobody has, so that nobody learns whose it is.
    for _ in range(FREE_FAILURES + 1):
        assert (await tried(product, person, name="nobody")).status_code == 403
    assert (await tried(product, person, name="nobody")).status_code == 429
    # A look-alike is the same name, and other people are not locked.
    assert (await tried(product, person, name="ADA")).status_code == 429
    other = await activated(product.url, await invited(caller, "bob"), caller.tenant)
    assert await token_of(product.url, other)
    async with tenant_transaction(product.pool, person.tenant) as connection:
        over = "UPDATE login_attempts SET locked_until = clock_timestamp() - interval '1 second' RETURNING failures"
        assert await connection.fetchval(over) == FREE_FAILURES + 1
    assert (await tried(product, person, password="wrong horse battery")).status_code == 403
    longer = await tried(product, person)
    assert int(longer.headers["Retry-After"]) > lock_seconds(FREE_FAILURES + 1)


async def test_many_at_once_are_counted_too(product: Live, person: Person) -> None:
    answers = await asyncio.gather(*(tried(product, person, password=f"wrong horse {n}") for n in range(20)))
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(403), statuses.count(429)) == (FREE_FAILURES + 1, 20 - FREE_FAILURES - 1)


async def test_an_address_is_locked_whoever_it_tries(product: Live, person: Person) -> None:
    async with tenant_transaction(product.pool, "system") as connection:
        await connection.execute("UPDATE login_attempts SET failures = $1", FREE_FAILURES_BY_ADDRESS)
    await tried(product, person, name="somebody")
    async with tenant_transaction(product.pool, "system") as connection:
        await connection.execute("UPDATE login_attempts SET failures = $1", FREE_FAILURES_BY_ADDRESS)
    assert (await tried(product, person, name="another")).status_code == 403
    assert (await tried(product, person)).status_code == 429


async def test_nobody_learns_who_there_is_by_the_time_it_takes(product: Live, person: Person) -> None:
    async def took(**typed: str) -> float:
        times: list[float] = []
        for _ in range(4):
            async with Browser(product.url) as browser:
                page = await browser.open(AUTHORIZE, **Pkce().query())
                began = time.perf_counter()
                await browser.send(page, **(person.typed() | typed))
                times.append(time.perf_counter() - began)
        return statistics.median(times)

    known, unknown = await took(password="wrong horse battery"), await took(name="nobody", password="wrong horse battery")
    # Without the hash an unknown name would be answered in a tenth of the time.
    assert unknown > known / 2.5
    assert known > unknown / 2.5


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uri": "https://evil.example/callback"},
        {"redirect_uri": "http://127.0.0.1:54321/other"},
        {"redirect_uri": "http://127.0.0.1:54321/callback/../x"},
        {"redirect_uri": "http://127.0.0.1:99999/callback"},
        {"redirect_uri": "http://127.0.0.1/callback"},
        {"redirect_uri": "http://localhost:54321/callback"},
        {"redirect_uri": "http://127.0.0.1:54321@evil.example/callback"},
        {"redirect_uri": "http://127.0.0.1:54321/callback\r\nSet-Cookie: a=b"},
        {"redirect_uri": "http://127.0.0.1:54321/callback?x=1"},
        {"redirect_uri": "javascript:alert(1)"},
        {"redirect_uri": "-"},
        {"client_id": "-"},
        {"client_id": "cli_other"},
        {"client_id": "<script>alert(1)</script>"},
    ],
)
async def test_an_unknown_client_or_address_is_never_led_to(product: Live, changes: dict[str, str]) -> None:
    async with Browser(product.url) as browser:
        answer = await browser.open(AUTHORIZE, **Pkce().query(**changes))
    assert answer.status_code == 400
    assert "Location" not in answer.headers
    assert "set-cookie" not in answer.headers
    assert "<script>" not in answer.text


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "-"}, "unsupported_response_type"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": "-"}, "invalid_request"),
        ({"code_challenge": "-"}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"scope": "session:read  session:read"}, "invalid_scope"),
        ({"scope": "a" * 5000}, "invalid_scope"),
    ],
)
async def test_other_mistakes_are_told_to_the_client(product: Live, changes: dict[str, str], error: str) -> None:
    pkce = Pkce()
    async with Browser(product.url) as browser:
        told = led_to(await browser.open(AUTHORIZE, **pkce.query(**changes)))
    assert (told["error"], told["state"], told["iss"]) == (error, pkce.state, PUBLIC_URL)


async def test_what_comes_back_is_what_was_sent_and_no_header_or_page_of_it(product: Live, person: Person) -> None:
    state = "a&b=c <\"'>%0d%0aX: y"
    async with Browser(product.url) as browser:
        page = await browser.open(AUTHORIZE, **Pkce().query(state=state), tenant='"><script>')
        assert "<script>" not in page.text
        wrong = await browser.send(page, **(person.typed() | {"name": '"><script>alert(1)</script>'}))
        assert "<script>" not in wrong.text
        told = led_to(await browser.send(wrong, **person.typed()))
    assert (told["state"], told["iss"]) == (state, PUBLIC_URL)
    async with Browser(product.url) as browser:
        assert led_to(await browser.open(AUTHORIZE, **Pkce().query(state="a\u00e9")))["error"] == "invalid_request"
        for query in ("state=a&state=b", "client_id=%ff", "&".join(f"a{n}=1" for n in range(30)), "state=%00"):
            assert (await browser.open(f"{AUTHORIZE}?{query}")).status_code == 400


async def test_pages_may_do_nothing_but_send_their_form(product: Live) -> None:
    async with Browser(product.url) as browser:
        page = await browser.open(AUTHORIZE, **Pkce().query(), tenant="acme")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self' http://127.0.0.1:54321;" in policy
    assert "script" not in policy + page.text
    assert (page.headers["X-Frame-Options"], page.headers["Cache-Control"]) == ("DENY", "no-store")
    assert (page.headers["Referrer-Policy"], page.headers["X-Content-Type-Options"]) == ("no-referrer", "nosniff")
    cookie = page.headers["set-cookie"]
    assert all(mark in cookie for mark in ("HttpOnly", "SameSite=strict", "Secure", f"Path={AUTHORIZE}"))
    assert fields_of(page.text)["tenant"] == "acme"
    assert set(fields_of(page.text)) == {*TEXTS, "sign_in"}


async def test_a_page_is_good_for_its_browser_and_once(product: Live, person: Person) -> None:
    async with Browser(product.url) as victim, Browser(product.url) as attacker:
        page = await attacker.open(AUTHORIZE, **Pkce().query())
        await victim.open(AUTHORIZE, **Pkce().query())
        # Another's page in one's own browser, without a cookie, from another site, or with what is no page.
        assert (await victim.send(page, **person.typed())).status_code == 400
        assert (await attacker.send(page, {"Cookie": ""}, **person.typed())).status_code == 400
        assert (await attacker.send(page, {"Sec-Fetch-Site": "cross-site"}, **person.typed())).status_code == 403
        assert (await attacker.send(page, **person.typed(), sign_in="x' OR 1=1 --")).status_code == 400
        assert "code" in led_to(await attacker.send(page, **person.typed()))
        await forget_step(product, person)
        assert (await attacker.send(page, **person.typed())).status_code == 400
        assert (await attacker.http.post(AUTHORIZE, json={})).status_code == 400


@pytest.mark.parametrize(
    "changes",
    [
        {"code_verifier": "A" * 43},
        {"code_verifier": "short"},
        {"redirect_uri": "http://127.0.0.1:54322/callback"},
        {"client_id": "other"},
    ],
)
async def test_a_code_is_bound_and_used_up_by_a_wrong_use(product: Live, person: Person, changes: dict[str, str]) -> None:
    pkce = Pkce()
    code = await code_for(product.url, person, pkce)
    refused = await redeemed(product.url, pkce.form(code, **changes))
    assert refused.status_code == 400
    if "client_id" in changes:
        assert refused.json()["error"] == "unauthorized_client"
        return
    assert refused.json()["error"] == "invalid_grant"
    assert (await redeemed(product.url, pkce.form(code))).json()["error"] == "invalid_grant"


async def test_a_code_used_twice_voids_its_token(product: Live, caller: Caller, person: Person) -> None:
    pkce = Pkce()
    form = pkce.form(await code_for(product.url, person, pkce))
    token = (await redeemed(product.url, form)).json()["access_token"]
    assert await status(product, token) == 200
    for _ in range(2):
        again = await redeemed(product.url, form)
        assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    await asyncio.sleep(1)  # what the gateway may remember
    assert await status(product, token) == 401
    (revoked,) = (await caller.get("/v1/revocations")).json()["revocations"]
    assert (revoked["value"], revoked["revoked_by"]) == (product.services.tokens.verify(token).jti, "system")


async def test_of_many_with_one_code_at_most_one_has_a_token_and_it_is_void(product: Live, person: Person) -> None:
    pkce = Pkce()
    form = pkce.form(await code_for(product.url, person, pkce))
    answers = await asyncio.gather(*(redeemed(product.url, form) for _ in range(10)))
    tokens = [answer.json()["access_token"] for answer in answers if answer.status_code == 200]
    assert len(tokens) <= 1
    await asyncio.sleep(1)
    assert [await status(product, token) for token in tokens] == [401] * len(tokens)


async def test_a_code_expires_and_dies_with_its_user(product: Live, caller: Caller, person: Person) -> None:
    pkce = Pkce()
    form = pkce.form(await code_for(product.url, person, pkce))
    async with tenant_transaction(product.pool, person.tenant) as connection:
        await connection.execute("UPDATE authorization_codes SET expires_at = clock_timestamp()")
    assert (await redeemed(product.url, form)).json()["error"] == "invalid_grant"
    await forget_step(product, person)
    form = pkce.form(await code_for(product.url, person, pkce))
    assert (await caller.delete(f"/v1/users/{person.user_id}")).status_code == 204
    assert (await redeemed(product.url, form)).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "changes",
    [
        {"code": "-"},
        {"code": "nonsense"},
        {"code": "soma_code_' OR 1=1.x"},
        {"code": "soma_code_demo." + "A" * 43},
        {"code_verifier": "-"},
        {"redirect_uri": "-"},
        {"client_id": "-"},
        {"client_secret": "x"},
    ],
)
async def test_a_malformed_grant_is_refused(product: Live, changes: dict[str, str]) -> None:
    answer = await redeemed(product.url, Pkce().form("soma_code_demo." + "B" * 43, **changes))
    assert answer.status_code == 400
    assert answer.json()["error"] in ("invalid_request", "invalid_grant")


async def test_there_is_no_password_grant(product: Live, person: Person) -> None:
    form = {"grant_type": "password", "username": person.name, "password": person.password, "client_id": "soma-cli"}
    assert (await redeemed(product.url, form)).json()["error"] == "unsupported_grant_type"


async def test_tokens_of_the_deleted_locked_and_demoted_end_within_a_second(product: Live, caller: Caller) -> None:
    headers = caller.headers | {"If-Match": "*"}
    for number, change in enumerate(({"locked": True}, {"roles": ["viewer"]}, None)):
        somebody = await activated(product.url, await invited(caller, f"user{number + 2}"), caller.tenant)
        token = await token_of(product.url, somebody)
        assert await status(product, token) == 200
        path = f"/v1/users/{somebody.user_id}"
        if change is None:
            assert (await caller.delete(path)).status_code == 204
        else:
            done = await caller.http.patch(path, json=change, headers=headers | {"Idempotency-Key": f"k{number}"})
            assert done.status_code == 200, done.text
        await asyncio.sleep(1)
        assert await status(product, token) == 401
        await forget_step(product, somebody)
        if change != {"roles": ["viewer"]}:
            assert (await tried(product, somebody)).status_code == 403


async def test_revocations_mean_people_too(product: Live, caller: Caller, person: Person) -> None:
    token = await token_of(product.url, person)
    answer = await caller.post("/v1/revocations", {"kind": "subject", "value": person.user_id})
    assert answer.status_code == 201
    await asyncio.sleep(1)
    assert await status(product, token) == 401


async def test_metadata_says_where_people_log_in(product: Live) -> None:
    async with httpx2.AsyncClient(base_url=product.url, trust_env=False) as http:
        server = (await http.get("/.well-known/oauth-authorization-server")).json()
    assert server["authorization_endpoint"] == f"{PUBLIC_URL}{AUTHORIZE}"
    assert server["code_challenge_methods_supported"] == ["S256"]
    assert "authorization_code" in server["grant_types_supported"]
    assert REDIRECT.startswith("http://127.0.0.1:")
