"""Authorization codes in Postgres: used up by whoever shows them first, and the token voided when somebody shows them again."""

from __future__ import annotations

from typing import Final

import structlog
from uuid_utils.compat import uuid7

from adapters.postgres.connection import Connection, Pool, Row, tenant_transaction
from adapters.postgres.outbox import event_of, insert_events
from domain.event_data.credentials import RevocationCreated
from domain.ids import Prefix, format_id
from domain.names import SYSTEM_TENANT
from domain.revocations import RevocationKind
from domain.sign_in import GrantedCode, verifies

_LOCK: Final = """
SELECT user_id, client_id, redirect_uri, code_challenge, scope, jti, used_at IS NOT NULL AS used,
       expires_at > clock_timestamp() AS holds
FROM authorization_codes WHERE tenant_id = $1 AND code_sha256 = $2 FOR UPDATE
"""
_USE: Final = "UPDATE authorization_codes SET used_at = clock_timestamp() WHERE tenant_id = $1 AND code_sha256 = $2"
_REPLAYED: Final = """
UPDATE authorization_codes SET replayed_at = coalesce(replayed_at, clock_timestamp()) WHERE tenant_id = $1 AND code_sha256 = $2
"""
_ISSUED: Final = """
UPDATE authorization_codes SET jti = $3 WHERE tenant_id = $1 AND code_sha256 = $2 AND replayed_at IS NULL RETURNING jti
"""
_ROLES: Final = """
SELECT roles FROM users
WHERE tenant_id = $1 AND user_id = $2 AND deleted_at IS NULL AND locked_at IS NULL AND login_id IS NOT NULL
"""
_VOID: Final = """
INSERT INTO revocations (tenant_id, revocation_id, kind, value, before, reason, revoked_by)
SELECT $1, $2, 'jti', $3, clock_timestamp(), $4, $5
WHERE NOT EXISTS (SELECT FROM revocations WHERE tenant_id = $1 AND kind = 'jti' AND value = $3)
RETURNING before
"""
_REASON: Final = "Its authorization code was used twice."

log = structlog.get_logger("adapters.codes")


class PostgresCodes:
    """Implements `Codes`. Every method raises DependencyUnavailable."""

    def __init__(self, pool: Pool) -> None:
        """`pool` connects as the application's role."""
        self._pool = pool

    async def redeem(
        self, tenant_id: str, code_sha256: str, *, client_id: str, redirect_uri: str, verifier: str
    ) -> GrantedCode | None:
        """Uses the code up; None when it does not hold for that client, redirect URI and verifier."""
        async with tenant_transaction(self._pool, tenant_id) as connection:
            row = await connection.fetchrow(_LOCK, tenant_id, code_sha256)
            if row is None:
                return None
            if row["used"]:
                await _void(connection, tenant_id, code_sha256, row["jti"])
                return None
            await connection.execute(_USE, tenant_id, code_sha256)
            if not _is_for(row, client_id, redirect_uri, verifier):
                return None
            roles: list[str] | None = await connection.fetchval(_ROLES, tenant_id, row["user_id"])
            if roles is None:
                return None
        return GrantedCode(tenant_id=tenant_id, user_id=row["user_id"], scope=row["scope"], roles=tuple(roles))

    async def issued(self, tenant_id: str, code_sha256: str, jti: str) -> bool:
        """Notes the token; False when the code was used again meanwhile."""
        async with tenant_transaction(self._pool, tenant_id) as connection:
            return await connection.fetchval(_ISSUED, tenant_id, code_sha256, jti) is not None


def _is_for(row: Row, client_id: str, redirect_uri: str, verifier: str) -> bool:
    same = row["client_id"] == client_id and row["redirect_uri"] == redirect_uri
    return bool(row["holds"]) and same and verifies(row["code_challenge"], verifier)


async def _void(connection: Connection, tenant_id: str, code_sha256: str, jti: str | None) -> None:
    """Refuses the token that was made from the code, or keeps one that is being made from being given (RFC 6749, 4.1.2)."""
    log.warning("code.replayed", tenant=tenant_id)
    await connection.execute(_REPLAYED, tenant_id, code_sha256)
    if jti is None:
        return
    revocation_id = format_id(Prefix.REVOCATION, uuid7())
    before = await connection.fetchval(_VOID, tenant_id, revocation_id, jti, _REASON, SYSTEM_TENANT)
    if before is not None:
        told = RevocationCreated(
            revocation_id=revocation_id, kind=RevocationKind.JTI, value=jti, before=before, subject=SYSTEM_TENANT
        )
        await insert_events(connection, tenant_id, (event_of(told),))
