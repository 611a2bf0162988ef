"""Clients in a real Postgres: each role sees what is its own, and a client's end is noticed."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from adapters.postgres.connection import Pool, create_pool, plain_transaction, tenant_transaction
from adapters.postgres.identity import (
    PostgresClientDirectory,
    PostgresStanding,
    create_client,
    disable_client,
    ensure_tenant,
    replace_secret,
    secret_digest,
)
from domain.actors import Actor
from domain.delegation import delegate
from domain.names import Scope
from workers.embedded.stack import EmbeddedStack


@pytest.fixture(scope="module")
async def token_pool(stack: EmbeddedStack) -> AsyncIterator[Pool]:
    """Postgres as the token endpoint's role."""
    pool = await create_pool(stack.environment["DATABASE_TOKEN_URL"], 2, "tests")
    yield pool
    await pool.close()


async def new_tenant(pool: Pool) -> str:
    tenant = f"t-{uuid.uuid4().hex[:12]}"
    await ensure_tenant(pool, tenant, "Test")
    return tenant


def actor(tenant: str, client_id: str, *scopes: str) -> Actor:
    return Actor(tenant_id=tenant, subject=client_id, client_id=client_id, scopes=scopes, jti="j")


async def test_a_client_is_made_once_and_found_by_the_token_role(pool: Pool, token_pool: Pool) -> None:
    tenant, client_id = await new_tenant(pool), f"cli_{uuid.uuid4().hex}"
    await ensure_tenant(pool, tenant, "Again")
    made = await create_client(pool, tenant, client_id, "a", (Scope.SESSION_READ,))
    assert made is not None
    assert len(made.secret) >= 43
    assert await create_client(pool, tenant, client_id, "a") is None
    assert await create_client(pool, await new_tenant(pool), client_id, "a") is None
    found = await PostgresClientDirectory(token_pool).find(client_id)
    assert found is not None
    assert (found.tenant_id, found.scopes, found.disabled) == (tenant, ("session:read",), False)
    assert found.secret_sha256 == secret_digest(made.secret)
    assert await PostgresClientDirectory(token_pool).find("nobody") is None


async def test_the_token_role_sees_clients_and_nothing_else(token_pool: Pool) -> None:
    for statement in (
        "TABLE tenants",
        "TABLE sessions",
        "TABLE idempotency_keys",
        "TABLE blobs",
        "UPDATE clients SET disabled_at = NULL",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with plain_transaction(token_pool) as connection:
                await connection.execute(statement)


async def test_the_application_sees_its_tenants_clients_alone(pool: Pool) -> None:
    one, two = await new_tenant(pool), await new_tenant(pool)
    made = await create_client(pool, one, f"cli_{uuid.uuid4().hex}", "a")
    assert made is not None
    async with tenant_transaction(pool, two) as connection:
        assert await connection.fetch("SELECT * FROM clients") == []
    assert not await disable_client(pool, two, made.client_id)
    assert await replace_secret(pool, two, made.client_id) is None
    assert not await PostgresStanding(pool).stands(actor(two, made.client_id))


async def test_standing_ends_with_the_client_or_its_scope(pool: Pool) -> None:
    tenant, client_id = await new_tenant(pool), f"cli_{uuid.uuid4().hex}"
    await create_client(pool, tenant, client_id, "a", (Scope.SESSION_READ, Scope.SESSION_SEND))
    standing = PostgresStanding(pool, memory_seconds=0)
    assert await standing.stands(actor(tenant, client_id, "session:read"))
    assert not await standing.stands(actor(tenant, client_id, "session:read", "policy:approve"))
    assert not await standing.stands(actor(tenant, "cli_nobody"))
    assert await disable_client(pool, tenant, client_id)
    assert not await standing.stands(actor(tenant, client_id, "session:read"))


async def test_an_answer_is_remembered_for_a_second_and_no_longer(pool: Pool) -> None:
    tenant, client_id, now = await new_tenant(pool), f"cli_{uuid.uuid4().hex}", 100.0
    await create_client(pool, tenant, client_id, "a", (Scope.SESSION_READ,))
    standing = PostgresStanding(pool, clock=lambda: now)
    asked = actor(tenant, client_id, "session:read")
    assert await standing.stands(asked)
    await disable_client(pool, tenant, client_id)
    now = 100.9
    assert await standing.stands(asked)
    now = 101.0
    assert not await standing.stands(asked)


async def test_a_delegated_token_stands_while_all_above_it_do(pool: Pool) -> None:
    tenant, names = await new_tenant(pool), [f"cli_{uuid.uuid4().hex}" for _ in range(3)]
    for name in names:
        await create_client(pool, tenant, name, "a", (Scope.SESSION_READ, Scope.SLM_CALL))
    held, standing = ("session:read", "slm:call"), PostgresStanding(pool, memory_seconds=0)
    now, token = datetime.now(UTC).replace(microsecond=0), actor(tenant, names[0], *held)
    token = token.model_copy(update={"issued_at": now, "expires_at": now + timedelta(seconds=900)})
    for number, name in enumerate(names[1:]):
        token = delegate(
            token,
            client_id=name,
            held=held,
            actor=None,
            wanted=("session:read:ses_1*",),
            jti=f"j{number}",
            issued_at=now,
            seconds=60,
        )
    assert await standing.stands(token)
    # Still within what the client holds, though not word for word.
    await replace_secret(pool, tenant, names[1], (Scope.SESSION_READ,))
    assert await standing.stands(token)
    await replace_secret(pool, tenant, names[1], (Scope.SLM_CALL,))
    assert not await standing.stands(token)
    await replace_secret(pool, tenant, names[1], (Scope.SESSION_READ,))
    assert await standing.stands(token)
    await disable_client(pool, tenant, names[0])
    assert not await standing.stands(token)
