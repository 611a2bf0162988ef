"""Vault's HTTP API as far as we speak it (https://developer.hashicorp.com/vault/api-docs), checked with hvac, its client.

Key-value version 2 below `/v1/{mount}`, logins by AppRole and Kubernetes, tokens that end, are renewed and are revoked,
`sys/health` and `sys/seal-status`. Lists are asked for by `GET …?list=true` alone: our HTTP parser does not know the method
LIST. Policies are kept small: a token reads what stands below its prefixes. Time is `now`, moved by
the test.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from dataclasses import dataclass, field
from typing import Any, Literal

from fakes.http_server import LoopbackServer
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

Mode = Literal["ok", "sealed", "error", "limited", "late", "no_json", "wrong_json", "redirect"]
ROOT_TOKEN = "hvs.root"


@dataclass
class Token:
    """A token and what it may read; `ttl` 0 has no end."""

    prefixes: tuple[str, ...] = ("",)
    ttl: float = 0
    renewable: bool = False
    expires_at: float = float("inf")


@dataclass
class Entry:
    """The versions of a secret; None is one that was deleted."""

    versions: list[dict[str, Any] | None] = field(default_factory=list)


class FakeVault(LoopbackServer):
    """`seen` holds what was asked, as `METHOD path`."""

    def __init__(self, mount: str = "somagent") -> None:
        self.mode: Mode = "ok"
        self.now = 0.0
        self.seen: list[str] = []
        self.entries: dict[str, Entry] = {}
        self.tokens = {ROOT_TOKEN: Token()}
        self.roles = {("approle", "gateway-role"): "secret-id-1", ("kubernetes", "worker"): "service.account.jwt"}
        self.role_prefixes: tuple[str, ...] = ("models/",)
        self.role_ttl, self.lease = 3600.0, 0
        self.mounted: dict[tuple[str, str], Any] = {}
        self.policies: dict[str, tuple[str, ...]] = {}
        self.approles: dict[str, tuple[str, ...]] = {}
        self._mount = mount
        app = FastAPI()
        app.add_api_route("/v1/{path:path}", self._any, methods=["GET", "HEAD", "POST", "PUT", "DELETE"])
        super().__init__(app)

    def put(self, name: str, value: Any, field_name: str = "value") -> int:
        """Writes a version, as `vault kv put` does, and returns its number."""
        versions = self.entries.setdefault(name, Entry()).versions
        versions.append({field_name: value})
        return len(versions)

    async def _any(self, path: str, request: Request) -> Response:
        self.seen.append(f"{request.method} {path}")
        body = await request.json() if await request.body() else {}
        if path == "sys/seal-status":
            return JSONResponse({"sealed": self.mode == "sealed", "initialized": True, "t": 3, "n": 5, "progress": 0})
        if path == "sys/health":
            sealed = self.mode == "sealed"
            return JSONResponse({"initialized": True, "sealed": sealed, "standby": False}, 503 if sealed else 200)
        if path == "elsewhere":
            # Where a redirect leads: whoever follows it takes a stranger's word for Vault's.
            return self._value(Entry([{"value": "s3cret"}]))
        if (broken := await self._broken()) is not None:
            return broken
        if path in ("auth/approle/login", "auth/kubernetes/login"):
            return self._login(path.split("/")[1], body)
        token = self.tokens.get(request.headers.get("x-vault-token", ""))
        if token is None or token.expires_at <= self.now:
            return _errors(403, "permission denied", "invalid token")
        if path.startswith(("sys/", "auth/approle/role/")):
            return self._operate(request.method, path, body) if "" in token.prefixes else _errors(403, "permission denied")
        if path.startswith("auth/token/"):
            return self._token(path, token, request.headers["x-vault-token"])
        mount, _, rest = path.partition("/")
        if mount != self._mount:
            return _errors(
                403, f'preflight capability check returned 403, please ensure client\'s policies grant access to path "{path}"'
            )
        listing = request.query_params.get("list") == "true"
        return self._kv("LIST" if listing else request.method, rest, body, token)

    async def _broken(self) -> Response | None:
        match self.mode:
            case "sealed":
                return _errors(503, "Vault is sealed")
            case "error":
                return _errors(500, "internal error, saw s3cret")
            case "limited":
                return _errors(429, 'request path "x": rate limit quota exceeded')
            case "late":
                for _ in range(200):
                    if self.mode != "late":
                        break
                    await asyncio.sleep(0.05)
                return None
            case "no_json":
                return Response("<html>s3cret", media_type="application/json")
            case "wrong_json":
                return JSONResponse({"data": {"data": {"value": 7}, "metadata": {"version": "s3cret"}}})
            case "redirect":
                return Response(status_code=307, headers={"Location": f"http://localhost:{self.port}/v1/elsewhere"})
            case "ok":
                return None

    def _operate(self, method: str, path: str, body: dict[str, Any]) -> Response:
        """What an operator does: mounts, policies, roles. A policy is read for the prefixes below the store that it lets read."""
        kind, _, name = path.removeprefix("sys/").rpartition("/")
        if path in ("sys/mounts", "sys/auth"):
            listed = {f"{mount}/": made for (of, mount), made in self.mounted.items() if of == path}
            return JSONResponse(listed | {"data": listed})
        if kind in ("mounts", "auth") and method == "POST":
            if (f"sys/{kind}", name) in self.mounted:
                return _errors(400, f"path is already in use at {name}/")
            self.mounted[f"sys/{kind}", name] = body
        elif kind == "policies/acl" and method in ("POST", "PUT"):
            rule = r'/data/([^"*]*)\*?" \{\s*capabilities = \["read"\]\s*\}'
            found = re.findall(f'path "{self._mount}' + rule, body["policy"])
            self.policies[name] = tuple(found)
        elif kind == "auth/approle/role" and method == "POST":
            self.approles[f"role-id-of-{name}"] = tuple(body["token_policies"])
        elif name == "role-id":
            return JSONResponse({"data": {"role_id": f"role-id-of-{kind.rpartition('/')[2]}"}})
        elif name == "secret-id" and method == "POST":
            secret_id = secrets.token_hex(8)
            self.roles["approle", f"role-id-of-{kind.rpartition('/')[2]}"] = secret_id
            return JSONResponse({"data": {"secret_id": secret_id}})
        else:
            return _errors(404)
        return Response(status_code=204)

    def _login(self, method: str, body: dict[str, Any]) -> Response:
        role, given = (body.get("role_id"), body.get("secret_id")) if method == "approle" else (body.get("role"), body.get("jwt"))
        if self.roles.get((method, str(role))) != given:
            return _errors(400, "invalid role or secret ID") if method == "approle" else _errors(403, "permission denied")
        made = f"hvs.{secrets.token_hex(8)}"
        policies = self.approles.get(str(role))
        prefixes = self.role_prefixes if policies is None else sum((self.policies[name] for name in policies), ())
        self.tokens[made] = Token(prefixes, self.role_ttl, True, self.now + self.role_ttl)
        return self._auth(made)

    def _auth(self, name: str) -> Response:
        token = self.tokens[name]
        auth = {"client_token": name, "accessor": "a", "policies": ["default"], "lease_duration": int(token.ttl)}
        return JSONResponse({"auth": auth | {"renewable": token.renewable}, "lease_duration": 0, "data": None})

    def _token(self, path: str, token: Token, name: str) -> Response:
        if path == "auth/token/lookup-self":
            left = 0 if token.ttl == 0 else int(token.expires_at - self.now)
            return JSONResponse({"data": {"id": name, "ttl": left, "renewable": token.renewable, "creation_ttl": token.ttl}})
        if path == "auth/token/renew-self":
            if not token.renewable:
                return _errors(400, "lease is not renewable")
            token.expires_at = self.now + token.ttl
            return self._auth(name)
        return _errors(404)

    def _kv(self, method: str, rest: str, body: dict[str, Any], token: Token) -> Response:
        kind, _, name = rest.partition("/")
        if not any(name.startswith(prefix) for prefix in token.prefixes):
            return _errors(403, "1 error occurred:\n\t* permission denied\n\n")
        if kind == "data" and method in ("POST", "PUT"):
            versions = self.entries.setdefault(name, Entry()).versions
            versions.append(body["data"])
            return JSONResponse({"data": {"version": len(versions), "destroyed": False, "deletion_time": ""}})
        if kind == "metadata" and method == "LIST":
            below = [found.removeprefix(name).lstrip("/") for found in self.entries if found.startswith(name)]
            keys = sorted({found.split("/")[0] for found in below})
            return JSONResponse({"data": {"keys": keys}}) if keys else _errors(404)
        entry = self.entries.get(name)
        if entry is None:
            return _errors(404)
        if kind == "metadata" and method == "GET":
            return JSONResponse({"data": {"current_version": len(entry.versions), "oldest_version": 1}})
        if kind == "metadata" and method == "DELETE":
            del self.entries[name]
            return Response(status_code=204)
        if kind == "data" and method == "DELETE":
            entry.versions[-1] = None
            return Response(status_code=204)
        return self._value(entry)

    def _value(self, entry: Entry) -> Response:
        value = entry.versions[-1]
        metadata = {"version": len(entry.versions), "destroyed": False, "deletion_time": "" if value else "2026-11-01T00:00:00Z"}
        body = {"data": {"data": value, "metadata": metadata}, "lease_duration": self.lease, "renewable": False}
        return JSONResponse(body, 200 if value is not None else 404)


def _errors(status: int, *said: str) -> Response:
    return JSONResponse({"errors": list(said)}, status)
