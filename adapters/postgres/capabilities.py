"""What a client may do, from its row: its own capabilities and those of its roles, built in and the tenant's own."""

from __future__ import annotations

from typing import Final

from adapters.postgres.connection import Connection, Row
from domain.roles import built_in_capabilities

_CLIENT: Final = """
SELECT scopes, roles FROM clients WHERE tenant_id = $1 AND client_id = $2 AND disabled_at IS NULL FOR SHARE
"""
_ROLES: Final = "SELECT name, capabilities FROM roles WHERE tenant_id = $1 AND name = ANY ($2::text[]) ORDER BY name FOR SHARE"


def held(row: Row) -> frozenset[str]:
    """The capabilities of a client from `scopes`, `roles`, and `of_roles`: what those roles open that are the tenant's own."""
    return frozenset(row["scopes"]) | frozenset(row["of_roles"]) | built_in_capabilities(row["roles"])


async def locked_roles(connection: Connection, tenant_id: str, names: list[str]) -> dict[str, frozenset[str]]:
    """The tenant's own roles among those names, and what each opens; they stay as they are until the transaction ends."""
    return {row["name"]: frozenset(row["capabilities"]) for row in await connection.fetch(_ROLES, tenant_id, names)}


async def locked_capabilities(connection: Connection, tenant_id: str, client_id: str) -> frozenset[str] | None:
    """What a client may do, which stays so until the transaction ends; None for one that is disabled or unknown."""
    row = await connection.fetchrow(_CLIENT, tenant_id, client_id)
    if row is None:
        return None
    own = await locked_roles(connection, tenant_id, row["roles"])
    return frozenset(row["scopes"]).union(built_in_capabilities(row["roles"]), *own.values())
