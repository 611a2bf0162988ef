"""Signed constitutions in Postgres. They belong to the reserved tenant `system`; every tenant may read them."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from adapters.postgres.connection import Pool, tenant_transaction
from domain.constitution import Constitution
from domain.errors import Conflict, DomainError
from domain.names import SYSTEM_TENANT

_ACTIVE = "SELECT version, envelope FROM constitutions ORDER BY activated_at DESC, hash LIMIT 1"


class PostgresConstitutions:
    """Implements `domain.ports.constitution.ConstitutionStore` and `ConstitutionArchive`."""

    def __init__(self, pool: Pool) -> None:
        """`pool` connects as the application's role."""
        self._pool = pool

    async def active(self) -> dict[str, Any] | None:
        """The envelope activated last, or None. Raises DependencyUnavailable."""
        async with tenant_transaction(self._pool, SYSTEM_TENANT) as connection:
            row = await connection.fetchrow(_ACTIVE)
        return row["envelope"] if row is not None else None

    async def document(self, hash_: str) -> Constitution | None:
        """The constitution of that hash, or None when it is not kept. What decisions name is the hash, so it is that which is
        checked: a key that signed it may have gone since. Raises DomainError when it is another document."""
        async with tenant_transaction(self._pool, SYSTEM_TENANT) as connection:
            envelope = await connection.fetchval("SELECT envelope FROM constitutions WHERE hash = $1", hash_)
        if envelope is None:
            return None
        payload = base64.b64decode(envelope["payload"])
        if hashlib.sha256(payload).hexdigest() != hash_:
            raise DomainError("A stored constitution no longer matches its hash; restore it from a backup.")
        return Constitution.model_validate_json(payload)

    async def activate(self, hash_: str, version: int, envelope: dict[str, Any]) -> None:
        """Stores the envelope and makes it the active one; again is harmless. Raises Conflict when a higher version is active."""
        async with tenant_transaction(self._pool, SYSTEM_TENANT) as connection:
            # One activation at a time, so that the version that is compared is still the active one when this commits.
            await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('constitutions', 0))")
            row = await connection.fetchrow(_ACTIVE)
            if row is not None and row["version"] > version:
                raise Conflict(
                    f"Version {row['version']} of the constitution is active; sign these rules with a higher version than that."
                )
            await connection.execute(
                """
                INSERT INTO constitutions (hash, version, envelope) VALUES ($1, $2, $3)
                ON CONFLICT (hash) DO UPDATE SET activated_at = clock_timestamp()
                """,
                hash_,
                version,
                envelope,
            )
