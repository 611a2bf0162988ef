"""The state of logging in, in Postgres: pages that were shown, attempts that are counted, and what an active user logs in with.

Attempts are counted as failures before anything is compared: however many come at once, no more than the free ones go on.
"""

from __future__ import annotations

from typing import Final

from adapters.postgres.connection import Connection, Pool, tenant_select, tenant_transaction
from adapters.postgres.outbox import event_of, insert_events
from domain.event_data.people import LoginFailed, LoginSucceeded
from domain.names import SYSTEM_TENANT, LoginFailure
from domain.sign_in import (
    CODE_SECONDS,
    FORGOTTEN_AFTER_SECONDS,
    FREE_FAILURES,
    FREE_FAILURES_BY_ADDRESS,
    METHODS,
    SIGN_IN_SECONDS,
    AuthorizationRequest,
    IssuedCode,
    LoginRecord,
    lock_seconds,
)

_BEGIN: Final = """
INSERT INTO sign_ins (tenant_id, sign_in_sha256, browser_sha256, request, expires_at)
VALUES ($1, $2, $3, $4, clock_timestamp() + make_interval(secs => $5))
"""
_SWEEP: Final = "DELETE FROM sign_ins WHERE tenant_id = $1 AND expires_at < clock_timestamp()"
_FIND: Final = """
SELECT request FROM sign_ins WHERE tenant_id = tenant.tenant_id AND sign_in_sha256 = $2 AND browser_sha256 = $3
  AND expires_at > clock_timestamp()
"""
_FINISH: Final = """
DELETE FROM sign_ins WHERE tenant_id = $1 AND sign_in_sha256 = $2 AND expires_at > clock_timestamp() RETURNING sign_in_sha256
"""

# While it is locked nothing is counted: who goes on trying does not lock for longer.
_COUNT: Final = """
INSERT INTO login_attempts AS a (tenant_id, kind, key, failures) VALUES ($1, $2, $3, 1)
ON CONFLICT (tenant_id, kind, key) DO UPDATE SET last_at = clock_timestamp(),
    failures = CASE WHEN a.last_at < clock_timestamp() - make_interval(secs => $4) THEN 1 ELSE a.failures + 1 END
WHERE a.locked_until IS NULL OR a.locked_until <= clock_timestamp()
RETURNING failures
"""
_LOCK: Final = """
UPDATE login_attempts SET locked_until = clock_timestamp() + make_interval(secs => $4)
WHERE tenant_id = $1 AND kind = $2 AND key = $3
"""
_WAIT: Final = """
SELECT greatest(1, ceil(extract(epoch FROM locked_until - clock_timestamp())))::int FROM login_attempts
WHERE tenant_id = $1 AND kind = $2 AND key = $3
"""
_FORGET: Final = "DELETE FROM login_attempts WHERE tenant_id = $1 AND kind = $2 AND key = $3"
# An address is shared, so one who knows a password takes back no more than this attempt.
_TAKE_BACK: Final = """
UPDATE login_attempts SET failures = greatest(0, failures - 1), locked_until = NULL
WHERE tenant_id = $1 AND kind = $2 AND key = $3
"""
_FORGET_OLD: Final = """
DELETE FROM login_attempts WHERE tenant_id = $1 AND last_at < clock_timestamp() - make_interval(secs => $2)
"""
_LOGIN: Final = """
SELECT u.user_id, u.login_id, l.password_hash, l.sealed_seed, u.totp_step AS step, u.roles
FROM users u JOIN user_logins l ON l.tenant_id = u.tenant_id AND l.login_id = u.login_id
WHERE u.tenant_id = tenant.tenant_id AND u.name_key = $2 AND u.deleted_at IS NULL AND u.locked_at IS NULL
"""
_ADVANCE: Final = """
UPDATE users SET totp_step = $4, last_login_at = clock_timestamp()
WHERE tenant_id = $1 AND user_id = $2 AND login_id = $3 AND (totp_step IS NULL OR totp_step < $4)
  AND deleted_at IS NULL AND locked_at IS NULL
RETURNING user_id
"""
_KEEP_CODE: Final = """
INSERT INTO authorization_codes (tenant_id, code_sha256, user_id, client_id, redirect_uri, code_challenge, scope, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp() + make_interval(secs => $8))
"""
# A code that was used is kept for as long as a token made from it may live, and longer.
_SWEEP_CODES: Final = "DELETE FROM authorization_codes WHERE tenant_id = $1 AND expires_at < clock_timestamp() - interval '1 day'"


class PostgresSignIns:
    """Implements `SignIns`. Every method raises DependencyUnavailable."""

    def __init__(self, pool: Pool) -> None:
        """`pool` connects as the application's role."""
        self._pool = pool

    async def begin(self, sign_in_sha256: str, browser_sha256: str, request: AuthorizationRequest) -> None:
        """Keeps what was asked for, and forgets what has expired."""
        async with tenant_transaction(self._pool, SYSTEM_TENANT) as connection:
            await connection.execute(_SWEEP, SYSTEM_TENANT)
            values = (sign_in_sha256, browser_sha256, request.model_dump(mode="json"), SIGN_IN_SECONDS)
            await connection.execute(_BEGIN, SYSTEM_TENANT, *values)

    async def find(self, sign_in_sha256: str, browser_sha256: str) -> AuthorizationRequest | None:
        """What that page was shown for."""
        rows = await tenant_select(self._pool, SYSTEM_TENANT, _FIND, sign_in_sha256, browser_sha256)
        return AuthorizationRequest.model_validate(rows[0]["request"]) if rows else None

    async def finish(self, sign_in_sha256: str) -> bool:
        """Ends it; False when it has ended already."""
        async with tenant_transaction(self._pool, SYSTEM_TENANT) as connection:
            return await connection.fetchval(_FINISH, SYSTEM_TENANT, sign_in_sha256) is not None


class PostgresLogins:
    """Implements `Logins`. What is counted by address belongs to the platform. Every method raises DependencyUnavailable."""

    def __init__(self, pool: Pool) -> None:
        """`pool` connects as the application's role."""
        self._pool = pool

    async def attempt(self, tenant_id: str, name_sha256: str, address_sha256: str) -> int:
        """Counts an attempt; the seconds for which neither may try."""
        wait = await self._count(SYSTEM_TENANT, "address", address_sha256, FREE_FAILURES_BY_ADDRESS)
        return wait or await self._count(tenant_id, "user", name_sha256, FREE_FAILURES)

    async def _count(self, tenant_id: str, kind: str, key: str, free: int) -> int:
        async with tenant_transaction(self._pool, tenant_id) as connection:
            failures: int | None = await connection.fetchval(_COUNT, tenant_id, kind, key, FORGOTTEN_AFTER_SECONDS)
            if failures is None:
                return int(await connection.fetchval(_WAIT, tenant_id, kind, key))
            if failures == 1:
                await connection.execute(_FORGET_OLD, tenant_id, FORGOTTEN_AFTER_SECONDS)
            if seconds := lock_seconds(failures, free):
                await connection.execute(_LOCK, tenant_id, kind, key, seconds)
        return 0

    async def find(self, tenant_id: str, name_key: str) -> LoginRecord | None:
        """What an active user of that name logs in with."""
        rows = await tenant_select(self._pool, tenant_id, _LOGIN, name_key)
        return LoginRecord.model_validate({name: rows[0][name] for name in LoginRecord.model_fields}) if rows else None

    async def failed(self, tenant_id: str, user_id: str, reason: LoginFailure) -> None:
        """Tells `login.failed`."""
        async with tenant_transaction(self._pool, tenant_id) as connection:
            await insert_events(connection, tenant_id, (event_of(LoginFailed(user_id=user_id, reason=reason)),))

    async def succeeded(
        self, tenant_id: str, name_sha256: str, address_sha256: str, login: LoginRecord, step: int, code: IssuedCode
    ) -> bool:
        """Keeps the code, forgets the failures and tells `login.succeeded`; False when the one-time password was used."""
        async with tenant_transaction(self._pool, tenant_id) as connection:
            if await connection.fetchval(_ADVANCE, tenant_id, login.user_id, login.login_id, step) is None:
                return False
            await connection.execute(_FORGET, tenant_id, "user", name_sha256)
            await _keep_code(connection, tenant_id, login, code)
            told = LoginSucceeded(user_id=login.user_id, client_id=code.request.client_id, amr=METHODS)
            await insert_events(connection, tenant_id, (event_of(told),))
        async with tenant_transaction(self._pool, SYSTEM_TENANT) as connection:
            await connection.execute(_TAKE_BACK, SYSTEM_TENANT, "address", address_sha256)
        return True


async def _keep_code(connection: Connection, tenant_id: str, login: LoginRecord, code: IssuedCode) -> None:
    asked = code.request
    values = (asked.client_id, asked.redirect_uri, asked.code_challenge, asked.scope, CODE_SECONDS)
    await connection.execute(_SWEEP_CODES, tenant_id)
    await connection.execute(_KEEP_CODE, tenant_id, code.code_sha256, login.user_id, *values)
