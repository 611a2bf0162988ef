"""A native app's side of a log-in (RFC 8252): PKCE, a loopback port for the answer, and the code for a token."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import socket
import time
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2

from domain.errors import DependencyUnavailable, Unauthenticated
from domain.sign_in import SOMA_CLI
from workers.cli.gateway_client import gateway_address
from workers.embedded.credentials import Login, checked_tenant

_ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close\r\n\r\n"
    b"<!doctype html><title>SomaGent</title><p>You may close this page and go back to the terminal.</p>\n"
)
_NOTHING: Final = b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n"
_LONGEST_LINE: Final = 8192


class LoopbackLogin:
    """One log-in. `address` is where the browser is to go."""

    def __init__(self, tenant: str, scope: str) -> None:
        """Listens on a loopback port of the system's choice. Raises InvalidRequest for what is no tenant."""
        self._tenant = checked_tenant(tenant)
        self._gateway = gateway_address()
        self._verifier, self._state = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._redirect = f"http://127.0.0.1:{self._listener.getsockname()[1]}/callback"
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self._verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": SOMA_CLI,
            "redirect_uri": self._redirect,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            "state": self._state,
            "tenant": self._tenant,
        } | ({"scope": scope} if scope else {})
        self.address = f"{self._gateway}/v1/oauth/authorize?{urlencode(query)}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._listener.close()

    def token(self, within: float) -> Login:
        """The token, once the browser has come back. Raises Unauthenticated when it does not in time, or is refused, and
        DependencyUnavailable when no gateway answers."""
        told = self._told(time.monotonic() + within)
        if "code" not in told:
            raise Unauthenticated(f"The log-in was refused ({told.get('error_description') or told.get('error')}); try again.")
        form = {
            "grant_type": "authorization_code",
            "client_id": SOMA_CLI,
            "code": told["code"],
            "redirect_uri": self._redirect,
            "code_verifier": self._verifier,
        }
        try:
            answer = httpx2.post(f"{self._gateway}/v1/oauth/token", data=form, timeout=30, trust_env=False)
            granted: dict[str, Any] = answer.json()
            return Login(
                access_token=granted["access_token"],
                expires_in=granted["expires_in"],
                expires_at=time.time() + granted["expires_in"],
                gateway=self._gateway,
            )
        except httpx2.TransportError:
            raise DependencyUnavailable(f"No gateway answers at {self._gateway}; start it with `soma up`.") from None
        except (ValueError, KeyError):
            raise Unauthenticated("The gateway gave no token for the log-in; try again.") from None

    def _told(self, deadline: float) -> dict[str, str]:
        """What the gateway told by way of the browser. Whoever does not know our state is not listened to."""
        while (left := deadline - time.monotonic()) > 0:
            self._listener.settimeout(left)
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                break
            with connection:
                connection.settimeout(min(5.0, left))
                told = self._read(connection)
            if told is not None:
                return told
        raise Unauthenticated("Nobody logged in within the time; `soma login` again.")

    def _read(self, connection: socket.socket) -> dict[str, str] | None:
        try:
            with connection.makefile("rb") as stream:
                method, target, _ = stream.readline(_LONGEST_LINE).decode("ascii").split(" ", 2)
                while stream.readline(_LONGEST_LINE).strip():
                    pass
            address = urlsplit(target)
            told = dict(parse_qsl(address.query))
            known = hmac.compare_digest(told.get("state", "").encode(), self._state.encode())
            good = method == "GET" and address.path == "/callback" and known
            connection.sendall(_ANSWER if good else _NOTHING)
        except (OSError, ValueError):
            return None
        return told if good else None
