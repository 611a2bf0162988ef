"""A browser as log-in tests need one: it keeps cookies, follows the forms of a page, and an authenticator app beside it."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import time
from dataclasses import dataclass, field
from html import unescape
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import httpx2

from domain.totp import STEP_SECONDS, code_at

_INPUT = re.compile(r"<input ([^>]*)>")
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')
_ACTION = re.compile(r'<form method="post" action="([^"]*)">')
_KEY = re.compile(r"<code>([A-Z2-7]{32})</code>")
PASSWORD = "correct horse battery"
REDIRECT = "http://127.0.0.1:54321/callback"


class Browser:
    """Asks one gateway for pages and sends their forms."""

    def __init__(self, url: str) -> None:
        self.http = httpx2.AsyncClient(base_url=url, timeout=60, trust_env=False)
        self.cookie = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.http.aclose()

    async def open(self, address: str, **query: str) -> httpx2.Response:
        answer = await self.http.get(address, params=query or None)
        self._keep(answer)
        return answer

    async def send(self, page: httpx2.Response, headers: dict[str, str] | None = None, **typed: str) -> httpx2.Response:
        """Sends the page's form with what was typed; the other fields as the page has them."""
        fields = fields_of(page.text) | typed
        found = _ACTION.search(page.text)
        assert found is not None, page.text
        # The cookie is marked Secure where the public address is https; tests speak http to the same gateway.
        sent = ({"Cookie": self.cookie} if self.cookie else {}) | (headers or {})
        answer = await self.http.post(unescape(found[1]), data=fields, headers=sent)
        self._keep(answer)
        return answer

    def _keep(self, answer: httpx2.Response) -> None:
        if (given := answer.headers.get("set-cookie")) is not None:
            self.cookie = given.partition(";")[0]


def fields_of(html: str) -> dict[str, str]:
    """The inputs of a page, by name, with the values they have."""
    found: dict[str, str] = {}
    for attributes in _INPUT.findall(html):
        named = dict(_ATTRIBUTE.findall(attributes))
        found[named["name"]] = unescape(named.get("value", ""))
    return found


@dataclass
class Person:
    """Somebody who has activated their account: what they know, and the seed their app holds."""

    tenant: str
    user_id: str
    name: str
    seed: bytes
    password: str = PASSWORD

    def typed(self, step: int = 1) -> dict[str, str]:
        """What they type, with the app's code of so many steps from now: the one after that of the activation by default."""
        code = code_at(self.seed, int(time.time()) // STEP_SECONDS + step)
        return {"tenant": self.tenant, "name": self.name, "password": self.password, "code": code}


@dataclass
class Pkce:
    """One authorization request of a client."""

    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    state: str = field(default_factory=lambda: secrets.token_urlsafe(16))

    def query(self, **changes: str) -> dict[str, str]:
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        values = {
            "response_type": "code",
            "client_id": "soma-cli",
            "redirect_uri": REDIRECT,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            "state": self.state,
        }
        return {name: value for name, value in (values | changes).items() if value != "-"}

    def form(self, given: str, **changes: str) -> dict[str, str]:
        values = {
            "grant_type": "authorization_code",
            "client_id": "soma-cli",
            "redirect_uri": REDIRECT,
            "code_verifier": self.verifier,
            "code": given,
        }
        return {name: value for name, value in (values | changes).items() if value != "-"}


async def activated(url: str, invited: dict[str, Any], tenant: str) -> Person:
    """Takes the invitation that `POST /v1/users` answered with, as a browser does."""
    async with Browser(url) as browser:
        second = await browser.send(await browser.open("/v1/activation"), invitation=invited["invitation"])
        seed = base64.b32decode(_KEY.findall(second.text)[0])
        code = code_at(seed, int(time.time()) // STEP_SECONDS)
        done = await browser.send(second, password=PASSWORD, again=PASSWORD, code=code)
        assert done.status_code == 200, done.text
        assert "You can log in now" in done.text
    return Person(tenant, invited["user"]["user_id"], invited["user"]["name"], seed)


def led_to(answer: httpx2.Response) -> dict[str, str]:
    """What the client is told at its redirect URI."""
    assert answer.status_code == 303, answer.text
    address = urlsplit(answer.headers["Location"])
    assert f"{address.scheme}://{address.netloc}{address.path}" == REDIRECT
    return dict(parse_qsl(address.query))


async def code_for(url: str, person: Person, pkce: Pkce, step: int = 1, **query: str) -> str:
    """The authorization code of a log-in."""
    async with Browser(url) as browser:
        page = await browser.open("/v1/oauth/authorize", **pkce.query(**query))
        told = led_to(await browser.send(page, **person.typed(step)))
    assert told["state"] == pkce.state
    return told["code"]


async def redeemed(url: str, form: dict[str, str], **headers: str) -> httpx2.Response:
    async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=30) as http:
        return await http.post("/v1/oauth/token", data=form, headers=headers)


async def token_of(url: str, person: Person, step: int = 1, **query: str) -> str:
    """An access token of somebody who logs in."""
    pkce = Pkce()
    answer = await redeemed(url, pkce.form(await code_for(url, person, pkce, step, **query)))
    assert answer.status_code == 200, answer.text
    return answer.json()["access_token"]
