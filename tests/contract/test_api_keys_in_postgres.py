"""API keys in a real Postgres: recorded once with their event, found by the token role, remembered for a second at most."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest

from adapters.postgres.api_keys import PostgresApiKeyDirectory, PostgresApiKeys
from adapters.postgres.blobs import PostgresBlobs
from adapters.postgres.connection import Pool, create_pool, plain_transaction, tenant_transaction
from adapters.postgres.identity import PostgresStanding, create_client, disable_client, ensure_tenant
from domain.actors import Actor
from domain.api_keys import ApiKeyInput, ApiKeyRevocationInput, ApiKeyStatus, digest, hint, is_api_key, written
from domain.errors import Forbidden, NotFound
from domain.ids import Prefix, format_id
from domain.names import Scope
from runtime.ids import new_id
from workers.embedded.stack import EmbeddedStack

READ = Scope.SESSION_READ


@pytest.fixture(scope="module")
async def token_pool(stack: EmbeddedStack) -> AsyncIterator[Pool]:
    """Postgres as the token endpoint's role."""
    pool = await create_pool(stack.environment["DATABASE_TOKEN_URL"], 2, "tests")
    yield pool
    await pool.close()


async def new_actor(pool: Pool, *scopes: Scope) -> Actor:
    """A client of a tenant of its own, as its token says."""
    tenant = f"t-{uuid.uuid4().hex[:12]}"
    await ensure_tenant(pool, tenant, "Test")
    client = await create_client(pool, tenant, f"cli_{uuid.uuid4().hex}", "a", scopes or (READ,))
    assert client is not None
    return Actor(
        tenant_id=tenant, subject=client.client_id, client_id=client.client_id, scopes=client.scopes, jti=uuid.uuid4().hex
    )


async def new_key(pool: Pool, actor: Actor, *scopes: Scope, lifetime: int | None = None) -> tuple[str, ApiKeyInput]:
    """A key and what is recorded of it."""
    key = written(uuid.uuid4().hex + uuid.uuid4().hex[:11])
    assert is_api_key(key)
    name = await PostgresBlobs(pool).put(actor.tenant_id, b"ci")
    return key, ApiKeyInput(
        key_id=new_id(Prefix.API_KEY),
        actor=actor,
        name=name,
        key_sha256=digest(key),
        hint=hint(key),
        scopes=scopes or (READ,),
        lifetime_seconds=lifetime,
    )


async def events(pool: Pool, tenant: str) -> list[str]:
    async with tenant_transaction(pool, tenant) as connection:
        return [row["type"] for row in await connection.fetch("SELECT type FROM outbox ORDER BY seq")]


async def test_the_first_writer_wins_and_is_told_once(pool: Pool, token_pool: Pool) -> None:
    store, actor = PostgresApiKeys(pool), await new_actor(pool)
    key, recorded = await new_key(pool, actor)
    other = recorded.model_copy(update={"key_sha256": digest("another")})
    assert (await store.create(recorded)).key_sha256 == digest(key)
    assert (await store.create(other)).key_sha256 == digest(key)
    assert await events(pool, actor.tenant_id) == ["somagent.api_key.created.v1"]
    view = await store.get(actor.tenant_id, recorded.key_id)
    assert (view.name, view.hint, view.status, view.scopes) == ("ci", hint(key), ApiKeyStatus.ACTIVE, ("session:read",))
    found = await PostgresApiKeyDirectory(token_pool, pool).find(digest(key))
    assert found is not None
    assert (found.tenant_id, found.client_id, found.key_id, found.stands) == (
        actor.tenant_id,
        actor.client_id,
        recorded.key_id,
        True,
    )


async def test_a_client_gets_no_key_beyond_its_scopes_as_they_are_now(pool: Pool) -> None:
    store, actor = PostgresApiKeys(pool), await new_actor(pool)
    with pytest.raises(Forbidden):
        await store.create((await new_key(pool, actor, READ, Scope.POLICY_APPROVE))[1])
    await disable_client(pool, actor.tenant_id, actor.client_id)
    with pytest.raises(Forbidden):
        await store.create((await new_key(pool, actor))[1])
    assert await store.page(actor.tenant_id, None, 10) == ()
    assert await events(pool, actor.tenant_id) == []


async def test_revoking_is_told_once_and_is_of_the_tenant_alone(pool: Pool) -> None:
    store, actor, stranger = PostgresApiKeys(pool), await new_actor(pool), await new_actor(pool)
    _, recorded = await new_key(pool, actor)
    await store.create(recorded)
    with pytest.raises(NotFound):
        await store.revoke(ApiKeyRevocationInput(key_id=recorded.key_id, actor=stranger))
    assert (await store.get(actor.tenant_id, recorded.key_id)).status is ApiKeyStatus.ACTIVE
    for _ in range(2):
        await store.revoke(ApiKeyRevocationInput(key_id=recorded.key_id, actor=actor))
    assert (await store.get(actor.tenant_id, recorded.key_id)).status is ApiKeyStatus.REVOKED
    assert await events(pool, actor.tenant_id) == ["somagent.api_key.created.v1", "somagent.api_key.revoked.v1"]


async def test_what_was_found_is_remembered_for_a_second_and_no_longer(pool: Pool, token_pool: Pool) -> None:
    store, actor, now = PostgresApiKeys(pool), await new_actor(pool), 100.0
    key, recorded = await new_key(pool, actor)
    directory = PostgresApiKeyDirectory(token_pool, pool, clock=lambda: now)
    assert await directory.find(digest(key)) is None
    await store.create(recorded)
    assert await directory.find(digest(key)) is None
    now = 101.0
    found = await directory.find(digest(key))
    assert found is not None
    assert found.stands
    await store.revoke(ApiKeyRevocationInput(key_id=recorded.key_id, actor=actor))
    now = 101.9
    assert await directory.find(digest(key)) == found
    now = 102.0
    assert await directory.find(digest(key)) == found.model_copy(update={"stands": False})


async def test_an_expired_key_stands_no_more(pool: Pool, token_pool: Pool) -> None:
    store, actor = PostgresApiKeys(pool), await new_actor(pool)
    key, recorded = await new_key(pool, actor, lifetime=3600)
    await store.create(recorded)
    directory, standing = PostgresApiKeyDirectory(token_pool, pool, memory_seconds=0), PostgresStanding(pool, memory_seconds=0)
    of_key = actor.model_copy(update={"jti": recorded.key_id})
    assert await standing.stands(of_key)
    async with tenant_transaction(pool, actor.tenant_id) as connection:
        await connection.execute("UPDATE api_keys SET expires_at = now()")
    found = await directory.find(digest(key))
    assert found is not None
    assert not found.stands
    assert not await standing.stands(of_key)
    assert await standing.stands(actor)


async def test_a_key_of_another_client_gives_no_standing(pool: Pool) -> None:
    store, actor = PostgresApiKeys(pool), await new_actor(pool)
    other = await create_client(pool, actor.tenant_id, f"cli_{uuid.uuid4().hex}", "b", (READ,))
    assert other is not None
    _, recorded = await new_key(pool, actor)
    await store.create(recorded)
    standing = PostgresStanding(pool, memory_seconds=0)
    assert await standing.stands(actor.model_copy(update={"key_id": recorded.key_id}))
    assert not await standing.stands(actor.model_copy(update={"key_id": recorded.key_id, "client_id": other.client_id}))


async def test_noting_a_use_neither_waits_nor_raises(stack: EmbeddedStack, pool: Pool, token_pool: Pool) -> None:
    store, actor = PostgresApiKeys(pool), await new_actor(pool)
    _, recorded = await new_key(pool, actor)
    await store.create(recorded)
    gone = await create_pool(stack.environment["DATABASE_URL"], 1, "tests")
    await gone.close()
    broken = PostgresApiKeyDirectory(token_pool, gone)
    started = time.perf_counter()
    broken.used(actor.tenant_id, recorded.key_id)
    assert time.perf_counter() - started < 0.05
    await broken.aclose()
    assert (await store.get(actor.tenant_id, recorded.key_id)).last_used_at is None
    directory = PostgresApiKeyDirectory(token_pool, pool)
    for _ in range(20):
        directory.used(actor.tenant_id, recorded.key_id)
        await asyncio.sleep(0)
    await directory.aclose()
    assert (await store.get(actor.tenant_id, recorded.key_id)).last_used_at is not None


async def test_the_token_role_reads_keys_and_changes_none(token_pool: Pool) -> None:
    for statement in ("UPDATE api_keys SET revoked_at = NULL", "DELETE FROM api_keys", "TABLE budgets"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with plain_transaction(token_pool) as connection:
                await connection.execute(statement)


async def test_the_application_sees_its_tenants_keys_alone(pool: Pool) -> None:
    store, actor, stranger = PostgresApiKeys(pool), await new_actor(pool), await new_actor(pool)
    _, recorded = await new_key(pool, actor)
    await store.create(recorded)
    async with tenant_transaction(pool, stranger.tenant_id) as connection:
        assert await connection.fetch("TABLE api_keys") == []
    with pytest.raises(NotFound):
        await store.get(stranger.tenant_id, recorded.key_id)
    with pytest.raises(NotFound):
        await store.get(actor.tenant_id, format_id(Prefix.API_KEY, uuid.uuid4()))
