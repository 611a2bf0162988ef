"""How a command asks the gateway: one token, one request at a time, every trouble a sentence with its exit code.

Credentials are those `soma bootstrap` wrote for a tenant. A write that was broken off may have happened, so the sentence names
the Idempotency-Key to repeat it with.
"""

from __future__ import annotations

import math
import os
import time
import uuid
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, cast
from urllib.parse import quote

import httpx2

from domain.errors import ERRORS, DependencyUnavailable, DomainError, InvalidRequest, Unauthenticated, UpstreamFailed
from workers.cli.environment import home, show_json
from workers.embedded.credentials import Credentials, Login, credentials_file, find_login, read_credentials

_CONNECT_SECONDS: Final = 3.0
_ANSWER_SECONDS: Final = 45.0
"""Longer than the gateway itself takes for anything that is not to be waited for."""
LONGEST_WAIT: Final = 60
"""The gateway answers a `Prefer: wait` after this many seconds at the latest."""

_GOING: Final = frozenset({"queued", "running"})


def gateway_address() -> str:
    """Where the gateway is: PUBLIC_URL, else GATEWAY_PORT on this machine, else port 8080 of it."""
    port = os.environ.get("GATEWAY_PORT") or "8080"
    return (os.environ.get("PUBLIC_URL") or f"http://127.0.0.1:{port}").rstrip("/")


class Gateway:
    """The gateway as one client sees it. The token is asked for with the first request and kept as long as this object."""

    def __init__(self, credentials: Credentials | Login, source: Path, *, scope: str = "", address: str | None = None) -> None:
        """`source` is the file the credentials are from, to be named when they are refused; `scope` empty means all."""
        self.address = address or gateway_address()
        self._credentials = credentials
        self._source = source
        self._scope = scope
        self._token: str | None = None
        # A proxy of the environment is for the world outside.
        local = self.address.startswith(("http://127.", "http://localhost", "http://[::1]"))
        # The list of authorities takes a tenth of a second to read, and without TLS nobody asks it.
        secure = self.address.startswith("https:")
        self._http = httpx2.Client(trust_env=not local, verify=secure, headers={"Accept": "application/json"})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._http.close()

    def token(self) -> dict[str, Any]:
        """A fresh access token as the token endpoint answered it (RFC 6749, 5.1). Raises DomainError."""
        form = {"grant_type": "client_credentials"} | ({"scope": self._scope} if self._scope else {})
        if isinstance(self._credentials, Login):
            return _of_login(self._credentials, self.address)
        return self.oauth("/v1/oauth/token", form)

    def oauth(self, path: str, form: Mapping[str, str]) -> dict[str, Any]:
        """What an OAuth endpoint answers to a form that the client sends with its credentials; empty when it says nothing.
        Raises DomainError."""
        given = self._credentials
        if isinstance(given, Login):
            raise InvalidRequest("Only a client delegates and revokes at this endpoint, not a log-in; `soma logout` first.")
        answer = self._exchange("POST", path, data=dict(form), auth=(given.client_id, given.client_secret.get_secret_value()))
        if answer.is_success:
            return self._read(answer) if answer.content else {}
        raise self._refusal(answer)

    def get(self, path: str, *, wait: float | None = None, **query: str | int | bool | None) -> dict[str, Any]:
        """The answer to a GET; members of `query` that are None are left out. Raises DomainError."""
        sent = {name: _query(value) for name, value in query.items() if value is not None}
        return self._ask("GET", path, wait=wait, params=sent or None)

    def post(
        self, path: str, body: Mapping[str, Any] | None = None, *, key: str | None = None, wait: float | None = None
    ) -> dict[str, Any]:
        """The answer to a POST, repeatable under its Idempotency-Key `key`. Raises DomainError."""
        return self._ask("POST", path, key=key, wait=wait, json=None if body is None else dict(body))

    def await_turn(self, url: str, within: float) -> dict[str, Any]:
        """The turn at that address once it runs no more, or as it stands after `within` seconds. Raises DomainError."""
        deadline = time.monotonic() + within
        while True:
            turn = self.get(url, wait=max(0.0, deadline - time.monotonic()))
            if turn["status"] not in _GOING or time.monotonic() >= deadline:
                return turn

    def edit(self, method: str, path: str, body: Mapping[str, Any], *, version: int, key: str) -> dict[str, Any]:
        """The answer to a PATCH or PUT of what has that version, repeatable under its Idempotency-Key. Raises DomainError."""
        return self._ask(method, path, key=key, version=version, json=dict(body))

    def delete(self, path: str) -> None:
        """Sends a DELETE. Raises DomainError."""
        self._ask("DELETE", path)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        key: str | None = None,
        wait: float | None = None,
        version: int | None = None,
        **content: Any,
    ) -> dict[str, Any]:
        if self._token is None:
            self._token = str(self.token()["access_token"])
        headers = {"Authorization": f"Bearer {self._token}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        if version is not None:
            headers["If-Match"] = f'"{version}"'
        if wait is not None:
            headers["Prefer"] = f"wait={min(math.ceil(wait), LONGEST_WAIT)}"
        answer = self._exchange(method, path, key=key, seconds=_ANSWER_SECONDS + (wait or 0.0), headers=headers, **content)
        if answer.is_success:
            return self._read(answer) if answer.content else {}
        raise _problem(answer, self.address)

    def _exchange(
        self, method: str, path: str, *, key: str | None = None, seconds: float = _ANSWER_SECONDS, **content: Any
    ) -> httpx2.Response:
        timeout = httpx2.Timeout(seconds, connect=_CONNECT_SECONDS)
        again = f"; it may have happened, and repeating it with `--key {key}` is safe" if key else ""
        try:
            return self._http.request(method, f"{self.address}{path}", timeout=timeout, **content)
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            raise DependencyUnavailable(f"No gateway answers at {self.address}; start it with `soma up`.") from None
        except httpx2.TimeoutException:
            raise DependencyUnavailable(f"The gateway did not answer within {seconds:.0f} s; see `soma status`{again}.") from None
        except httpx2.TransportError as error:
            if isinstance(error, httpx2.UnsupportedProtocol):
                raise InvalidRequest(f"PUBLIC_URL must begin with http:// or https://, and is {self.address}.") from None
            raise DependencyUnavailable(f"The gateway broke off its answer; see `soma logs gateway`{again}.") from None
        except httpx2.InvalidURL:
            raise InvalidRequest(f"PUBLIC_URL is no address: {self.address}.") from None

    def _read(self, answer: httpx2.Response) -> dict[str, Any]:
        try:
            value: Any = answer.json()
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise _stranger(answer, self.address)
        return cast("dict[str, Any]", value)

    def _refusal(self, answer: httpx2.Response) -> DomainError:
        """The error of RFC 6749, 5.2, or a problem."""
        try:
            body: Any = answer.json()
            error, description = str(body["error"]), str(body["error_description"])
        except (ValueError, KeyError, TypeError):
            return _problem(answer, self.address)
        if error == "invalid_client" and isinstance(self._credentials, Credentials):
            remedy = f"`soma bootstrap --tenant {self._credentials.tenant}` writes new ones"
            return Unauthenticated(f"The gateway refuses the credentials in {self._source}; {remedy}.", problem=body)
        return InvalidRequest(description, problem=body)


@contextmanager
def open_gateway(tenant: str, *, scope: str = "", as_json: bool = False) -> Generator[Gateway]:
    """The gateway as who logged in sees it, or else the tenant's admin client; with `as_json` a problem is also printed as JSON.

    Raises DependencyUnavailable when there are no credentials, InvalidRequest for a tenant that is no name.
    """
    try:
        who = find_login(home(), tenant) or read_credentials(home(), tenant)
        with Gateway(who, credentials_file(home(), tenant), scope=scope) as gateway:
            yield gateway
    except DomainError as error:
        if as_json and "problem" in error.members:
            show_json(error.members["problem"])
        raise


def _of_login(login: Login, address: str) -> dict[str, Any]:
    """The token of `soma login`. Raises Unauthenticated when it has expired, or is of another gateway."""
    left = int(login.expires_at - time.time())
    if left <= 0 or login.gateway != address:
        why = "has expired" if left <= 0 else f"is for {login.gateway}"
        raise Unauthenticated(f"Your log-in {why}; `soma login` again, or `soma logout` to ask as the admin client.")
    return {"access_token": login.access_token.get_secret_value(), "token_type": "Bearer", "expires_in": left}


def at(collection: str, resource_id: str, action: str = "") -> str:
    """The path of a resource whose id somebody typed."""
    return f"{collection}/{quote(resource_id, safe='')}" + (f"/{action}" if action else "")


def new_key() -> str:
    """An Idempotency-Key for one invocation."""
    return f"cli-{uuid.uuid4()}"


def _query(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _problem(answer: httpx2.Response, address: str) -> DomainError:
    """The error that a problem document (RFC 9457) tells of, as one sentence that holds its reasons."""
    try:
        body: dict[str, Any] = answer.json()
        kind, sentence = str(body["type"]).rsplit("/", 1)[-1], str(body["detail"])
    except (ValueError, KeyError, TypeError):
        return _stranger(answer, address)
    told = [f"{reason['code']}: {reason['message']}" for reason in body.get("reasons") or ()]
    told += [f"{fault.get('pointer') or fault.get('parameter')}: {fault['detail']}" for fault in body.get("errors") or ()]
    if told:
        sentence = f"{sentence.partition(';')[0].rstrip('.')} ({'; '.join(each.rstrip('.') for each in told)})."
    if answer.status_code >= httpx2.codes.INTERNAL_SERVER_ERROR:
        sentence = f"{sentence.rstrip('.')} (trace_id {body.get('trace_id')})."
    return ERRORS.get(kind, UpstreamFailed)(sentence, problem=body)


def _stranger(answer: httpx2.Response, address: str) -> DomainError:
    return UpstreamFailed(
        f"What listens at {address} answered {answer.status_code} and nothing that SomaGent's gateway says; see `soma status`."
    )
