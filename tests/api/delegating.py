"""Tokens exchanged and revoked over HTTP, for tests of both."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import httpx2
from live import Caller

WITHIN_SECONDS = 1.0
"""For so long at most a gateway remembers that a token stands."""
ENDPOINT = "/v1/oauth/token"
REVOCATION = "/v1/oauth/revoke"
GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS = "urn:ietf:params:oauth:token-type:access_token"


def token_of(caller: Caller) -> str:
    return caller.headers["Authorization"].removeprefix("Bearer ")


def form_of(token: str, **more: str) -> dict[str, str]:
    """A token exchange; an empty parameter is as good as none."""
    return {"grant_type": GRANT, "subject_token": token, "subject_token_type": ACCESS} | more


async def exchange(caller: Caller, token: str, **more: str) -> httpx2.Response:
    """The caller's client asks for a token delegated from that one."""
    credentials = (caller.client.client_id, caller.client.secret)
    return await caller.http.post(ENDPOINT, data=form_of(token, **more), auth=credentials)


async def delegated(caller: Caller, token: str, **more: str) -> str:
    answer = await exchange(caller, token, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()["access_token"]


async def revoke(caller: Caller, token: str, **more: str) -> httpx2.Response:
    credentials = (caller.client.client_id, caller.client.secret)
    return await caller.http.post(REVOCATION, data={"token": token} | more, auth=credentials)


async def status(caller: Caller, token: str, path: str = "/v1/sessions") -> int:
    return (await caller.http.get(path, headers={"Authorization": f"Bearer {token}"})).status_code


def claims_of(token: str) -> dict[str, Any]:
    body = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


def refused(answer: httpx2.Response, error: str, status_code: int = 400) -> str:
    """Asserts that it is that error of RFC 6749, 5.2; its description."""
    assert (answer.status_code, answer.json().get("error")) == (status_code, error), answer.text
    assert set(answer.json()) == {"error", "error_description"}
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.json()["error_description"]


async def revoked(caller: Caller, kind: str, value: str) -> None:
    answer = await caller.post("/v1/revocations", {"kind": kind, "value": value})
    assert answer.status_code == 201, answer.text
    await asyncio.sleep(WITHIN_SECONDS)
