"""Who logs in: a name, a password and a one-time password compared, at the same cost whether or not there is such a user."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from typing import Final

import structlog
from pydantic import Field

from api.services import People, Services
from domain.base import Contract
from domain.capabilities import within
from domain.errors import DependencyUnavailable
from domain.names import LoginFailure
from domain.sign_in import AuthorizationRequest, IssuedCode, LoginRecord, written_code
from domain.totp import SEED_BYTES, matching_step
from domain.users import bounded_password, name_key, normal_name

_TENANT: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,47}\Z")
_NO_SEED: Final = bytes(SEED_BYTES)

log = structlog.get_logger("api.log_in")


class Given(Contract):
    """What somebody typed."""

    tenant: str
    name: str
    password: str = Field(repr=False)
    code: str = Field(repr=False)


class LoginRefused(Exception):
    """Nobody is logged in. `wait` is the seconds until it may be tried again; 0 for at once."""

    def __init__(self, wait: int = 0) -> None:
        super().__init__()
        self.wait: Final = wait


class ScopeRefused(Exception):
    """They are who they say, and do not hold what was asked for."""


async def log_in(services: Services, asked: AuthorizationRequest, given: Given, address: str) -> str:
    """An authorization code for who logs in. Raises LoginRefused, ScopeRefused, DependencyUnavailable."""
    people, tenant = services.people, given.tenant.strip()
    if _TENANT.match(tenant) is None:
        raise LoginRefused
    key = _key(given.name)
    name_sha256, address_sha256 = _digest(key), _digest(address)
    if wait := await people.logins.attempt(tenant, name_sha256, address_sha256):
        log.warning("login.locked", tenant=tenant, wait_seconds=wait)
        raise LoginRefused(wait)
    record = await people.logins.find(tenant, key)
    step = await _compared(people, tenant, record, given)
    if record is None or step is None:
        raise LoginRefused
    await _check_scope(people, tenant, record, asked.scope)
    code = written_code(tenant, secrets.token_urlsafe(32))
    issued = IssuedCode(code_sha256=_digest(code), request=asked)
    if not await people.logins.succeeded(tenant, name_sha256, address_sha256, record, step, issued):
        await _tell_failure(people, tenant, record, LoginFailure.REPLAYED)
        raise LoginRefused
    log.info("login.succeeded", tenant=tenant, user=record.user_id, client=asked.client_id)
    return code


async def _compared(people: People, tenant: str, record: LoginRecord | None, given: Given) -> int | None:
    """The step whose code was given; None when anything differs. Both factors are always compared."""
    password = bounded_password(given.password)
    # What is too long is nobody's password, whoever it is tried for.
    same = password is not None and await people.passwords.matches(record.password_hash if record else None, password)
    seed = people.sealer.open(record.sealed_seed, seed_context(tenant, record.user_id, record.login_id)) if record else None
    code = "".join(given.code.split())
    step = matching_step(seed or _NO_SEED, code, time.time(), record.step if record else None)
    if record is None:
        log.warning("login.failed", tenant=tenant, reason="unknown")
        return None
    if same and seed is None:
        raise DependencyUnavailable("What this user logs in with cannot be read: its key is not in LOGIN_KEY_FILE.")
    if same and step is not None:
        return step
    replayed = same and seed is not None and matching_step(seed, code, time.time()) is not None
    reason = LoginFailure.REPLAYED if replayed else LoginFailure.SECOND_FACTOR if same else LoginFailure.FIRST_FACTOR
    await _tell_failure(people, tenant, record, reason)
    return None


async def _tell_failure(people: People, tenant: str, record: LoginRecord, reason: LoginFailure) -> None:
    log.warning("login.failed", tenant=tenant, user=record.user_id, reason=reason.value)
    await people.logins.failed(tenant, record.user_id, reason)


async def _check_scope(people: People, tenant: str, record: LoginRecord, scope: str) -> None:
    if granted_scopes(await people.roles.opened(tenant, record.roles), scope) is None:
        raise ScopeRefused


def granted_scopes(roles: dict[str, frozenset[str]], asked: str) -> tuple[str, ...] | None:
    """What a token for these roles opens: all of it when nothing is asked for, else what is asked for; None when that is more
    than they hold."""
    held = frozenset[str]().union(*roles.values())
    wanted = tuple(dict.fromkeys(asked.split(" "))) if asked else tuple(sorted(held))
    return wanted if wanted and all(within(scope, held) for scope in wanted) else None


def seed_context(tenant_id: str, user_id: str, login_id: str) -> str:
    """What a TOTP seed is sealed for: this login of this user, and no other."""
    return f"totp/{tenant_id}/{user_id}/{login_id}"


def _key(name: str) -> str:
    """What the user is found and counted by; also what is no name is counted."""
    try:
        return name_key(normal_name(name.strip()))
    except ValueError:
        # No name holds a blank, so nobody is found by it.
        return f" {name[:256]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()
