"""A client that follows the contract: what may have happened is sent again with the same Idempotency-Key until it is answered.

Connections that break, 503, 429 and "in progress" are the weather it sails through. Any other failure, and a 503 or 429 that
does not say what to do, is a violation of the contract and is written down.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from types import TracebackType
from typing import Any, Final, Self

import httpx2
from chaos.ledger import Ledger

from workers.embedded.credentials import Credentials

PATIENCE_SECONDS: Final = 150
_LONGEST_PAUSE: Final = 3.0


class ContractClient:
    """One OAuth client of the gateway at `url`."""

    def __init__(self, url: str, credentials: Credentials, ledger: Ledger, random_source: random.Random) -> None:
        self._http = httpx2.AsyncClient(base_url=url, timeout=httpx2.Timeout(75, connect=5), trust_env=False)
        self._credentials, self._ledger, self._random = credentials, ledger, random_source
        self._token = ""
        self._asking = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._http.aclose()

    async def get(self, path: str, *, wait: int | None = None) -> dict[str, Any]:
        """A read, repeated until it is answered."""
        return (await self.request("GET", path, wait=wait)).json()

    async def request(
        self, method: str, path: str, body: object = None, *, key: str | None = None, wait: int | None = None
    ) -> httpx2.Response:
        """The first answer of success. Raises AssertionError for an answer that repeating cannot cure, or when patience ends."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        headers = {"Idempotency-Key": key} if key else {}
        if wait is not None:
            headers["Prefer"] = f"wait={wait}"
        last = "nothing"
        while time.monotonic() < deadline:
            token = await self._current_token()
            answer = await self._once(method, path, body, headers | {"Authorization": f"Bearer {token}"})
            if answer is None:
                last, pause = "a broken connection", 0.2
            elif answer.is_success:
                return answer
            elif answer.status_code == 401:
                await self._renew(token)
                last, pause = "401", 0.0
            else:
                last, pause = f"{answer.status_code} {answer.text}", self._pause(answer, f"{method} {path}")
            await asyncio.sleep(pause * self._random.uniform(0.8, 1.4))
        raise AssertionError(f"{method} {path} was not answered within {PATIENCE_SECONDS} s; the last was {last}")

    async def _once(self, method: str, path: str, body: object, headers: dict[str, str]) -> httpx2.Response | None:
        """None when the connection was refused or broke."""
        try:
            answer = await self._http.request(method, path, json=body, headers=headers)
        except httpx2.TransportError as error:
            self._ledger.answers[type(error).__name__] += 1
            return None
        self._ledger.answers[_name(answer)] += 1
        return answer

    def _pause(self, answer: httpx2.Response, what: str) -> float:
        """Seconds until it is worth trying again. Raises AssertionError when it never is."""
        status, retry_after = answer.status_code, answer.headers.get("Retry-After", "")
        if status in (429, 503) or (status == 409 and _name(answer) == "409 request-in-progress"):
            problem = answer.headers.get("Content-Type", "").startswith("application/problem+json")
            if not problem or not retry_after.isdecimal() or answer.json().get("retryable") is not True:
                self._ledger.violations.append(f"{what}: {status} without a way out: {answer.text}")
            return min(float(retry_after or 1), _LONGEST_PAUSE)
        self._ledger.violations.append(f"{what}: {status} {answer.text}")
        assert status >= 500, f"{what} was refused: {status} {answer.text}"
        return 1.0

    async def _current_token(self) -> str:
        return self._token or await self._renew("")

    async def _renew(self, used: str) -> str:
        """A fresh token, unless another request has fetched one since `used`."""
        async with self._asking:
            while self._token == used:
                form = {
                    "grant_type": "client_credentials",
                    "client_id": self._credentials.client_id,
                    "client_secret": self._credentials.client_secret.get_secret_value(),
                }
                try:
                    answer = await self._http.post("/v1/oauth/token", data=form)
                except httpx2.TransportError:
                    await asyncio.sleep(0.3)
                    continue
                if answer.status_code == 200:
                    self._token = answer.json()["access_token"]
                else:
                    await asyncio.sleep(self._pause(answer, "POST /v1/oauth/token"))
            return self._token


def _name(answer: httpx2.Response) -> str:
    """Status and, of a problem, its type."""
    if answer.is_success or not answer.headers.get("Content-Type", "").startswith("application/problem+json"):
        return str(answer.status_code)
    return f"{answer.status_code} {answer.json()['type'].rpartition('/')[2]}"


def request_ids(text: str) -> list[str]:
    """The ids of requests that a text names, as in a problem's body: logs tell more of them."""
    return re.findall(r"req_[0-9a-f]{32}", text)
