"""Roles, clients and tenants in a real Postgres: each step done once however often it runs, and locks where two meet."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest
from live import until

from adapters.postgres.blobs import PostgresBlobs
from adapters.postgres.capabilities import locked_roles
from adapters.postgres.clients import PostgresClients
from adapters.postgres.connection import Pool, create_pool, plain_transaction, tenant_transaction
from adapters.postgres.identity import create_client, ensure_tenant
from adapters.postgres.roles import PostgresRoles
from adapters.postgres.tenants import PostgresTenantDirectory, PostgresTenants
from domain.actors import Actor
from domain.clients import ClientChangeInput, ClientDisablingInput, ClientInput, ClientRotationInput, digest
from domain.errors import Conflict, NotFound, PreconditionFailed
from domain.ids import Prefix
from domain.names import SYSTEM_TENANT, Scope
from domain.roles import RoleDeletionInput, RoleInput, RoleReplacementInput
from domain.tenants import TenantChangeInput, TenantDeletionInput, TenantInput, TenantLimits
from runtime.ids import new_id, new_uuid
from workers.embedded.stack import EmbeddedStack


@pytest.fixture(scope="module")
async def token_pool(stack: EmbeddedStack) -> AsyncIterator[Pool]:
    """Postgres as the token endpoint's role."""
    pool = await create_pool(stack.environment["DATABASE_TOKEN_URL"], 2, "tests")
    yield pool
    await pool.close()


async def new_actor(pool: Pool, tenant: str | None = None) -> Actor:
    """A client that may do everything, of a tenant of its own unless one is named."""
    tenant = tenant or f"t-{uuid.uuid4().hex[:12]}"
    await ensure_tenant(pool, tenant, "Test")
    client = await create_client(pool, tenant, f"cli_{uuid.uuid4().hex}", "a")
    assert client is not None
    return Actor(tenant_id=tenant, subject="s", client_id=client.client_id, scopes=tuple(map(str, Scope)), jti=uuid.uuid4().hex)


def clerk(actor: Actor, name: str = "clerk") -> RoleInput:
    return RoleInput(role_id=new_id(Prefix.ROLE), actor=actor, name=name, capabilities=("document:read",))


async def a_client(pool: Pool, actor: Actor, *roles: str) -> ClientInput:
    name = await PostgresBlobs(pool).put(actor.tenant_id, b"billing")
    return ClientInput(
        client_id=new_id(Prefix.CLIENT), actor=actor, name=name, digest=digest("first"), scopes=("session:read",), roles=roles
    )


async def events(pool: Pool, tenant: str) -> list[str]:
    async with tenant_transaction(pool, tenant) as connection:
        found = await connection.fetch("SELECT type FROM outbox ORDER BY seq")
    return [row["type"].split(".", 1)[1] for row in found]


async def test_each_step_of_a_role_is_done_once(pool: Pool) -> None:
    store, actor = PostgresRoles(pool), await new_actor(pool)
    role = clerk(actor)
    change = RoleReplacementInput(
        change_id=new_uuid(), role_id=role.role_id, actor=actor, capabilities=("session:read",), expected=(1,)
    )
    for _ in range(2):
        await store.create(role)
    for _ in range(2):
        await store.replace(change)
    view = await store.get(actor.tenant_id, "clerk")
    assert (view.version, view.capabilities) == (2, ("session:read",))
    with pytest.raises(PreconditionFailed):
        await store.replace(change.model_copy(update={"change_id": new_uuid()}))
    for _ in range(2):
        await store.delete(RoleDeletionInput(role_id=role.role_id, actor=actor))
    assert await events(pool, actor.tenant_id) == ["role.created.v1", "role.replaced.v1", "role.deleted.v1"]


async def test_each_step_of_a_client_is_done_once(pool: Pool) -> None:
    store, actor = PostgresClients(pool), await new_actor(pool)
    client = await a_client(pool, actor, "viewer")
    assert (await store.create(client)).digest == digest("first")
    # A step that runs again with another secret is told which one was recorded, so that nobody is shown the other.
    assert (await store.create(client.model_copy(update={"digest": digest("again")}))).digest == digest("first")
    rotation = ClientRotationInput(
        change_id=new_uuid(), client_id=client.client_id, actor=actor, digest=digest("second"), overlap_seconds=60
    )
    assert (await store.rotate(rotation)).digest == digest("second")
    assert (await store.rotate(rotation.model_copy(update={"digest": digest("again")}))).digest == digest("second")
    change = ClientChangeInput(
        change_id=new_uuid(), client_id=client.client_id, actor=actor, scopes=("session:send",), expected=(2,)
    )
    for _ in range(2):
        await store.change(change)
    for _ in range(2):
        await store.disable(ClientDisablingInput(client_id=client.client_id, actor=actor))
    view = await store.get(actor.tenant_id, client.client_id)
    assert (view.version, view.scopes, view.roles, view.disabled) == (4, ("session:send",), ("viewer",), True)
    assert await events(pool, actor.tenant_id) == [f"client.{done}.v1" for done in ("created", "rotated", "changed", "disabled")]
    with pytest.raises(Conflict):
        await store.rotate(rotation.model_copy(update={"change_id": new_uuid()}))


async def test_each_step_of_a_tenant_is_done_once(pool: Pool) -> None:
    store, actor, tenant_id = PostgresTenants(pool), await new_actor(pool, SYSTEM_TENANT), f"t-{uuid.uuid4().hex[:12]}"
    name = await PostgresBlobs(pool).put(SYSTEM_TENANT, b"Acme")
    tenant = TenantInput(
        tenant_id=tenant_id,
        actor=actor,
        name=name,
        plan="trial",
        limits=TenantLimits(requests_per_minute=5),
        residency=("local",),
        client_id=new_id(Prefix.CLIENT),
        digest=digest("first"),
    )
    assert (await store.create(tenant)).digest == digest("first")
    assert (await store.create(tenant.model_copy(update={"digest": digest("again")}))).digest == digest("first")
    with pytest.raises(Conflict):
        await store.create(tenant.model_copy(update={"client_id": new_id(Prefix.CLIENT)}))
    change = TenantChangeInput(
        change_id=new_uuid(), tenant_id=tenant_id, actor=actor, limits=TenantLimits(), residency=(), expected=(1,)
    )
    for _ in range(2):
        await store.change(change)
    view = await store.get(tenant_id)
    assert (view.name, view.plan, view.limits, view.residency, view.version) == ("Acme", "trial", TenantLimits(), (), 2)
    for _ in range(2):
        await store.delete(TenantDeletionInput(tenant_id=tenant_id, actor=actor))
    assert await events(pool, tenant_id) == ["tenant.created.v1", "tenant.changed.v1", "tenant.deleted.v1"]
    with pytest.raises(NotFound):
        await store.delete(TenantDeletionInput(tenant_id="t-nobody", actor=actor))


async def test_a_role_that_is_being_given_is_not_deleted_meanwhile(pool: Pool) -> None:
    store, actor = PostgresRoles(pool), await new_actor(pool)
    role = clerk(actor)
    await store.create(role)
    async with tenant_transaction(pool, actor.tenant_id) as giving:
        assert await locked_roles(giving, actor.tenant_id, ["clerk"]) == {"clerk": frozenset({"document:read"})}
        deleting = asyncio.create_task(store.delete(RoleDeletionInput(role_id=role.role_id, actor=actor)))

        async def waits_or_is_done() -> bool:
            return deleting.done() or await giving.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")

        await until(waits_or_is_done)
        assert not deleting.done()
        await giving.execute("UPDATE clients SET roles = '{clerk}' WHERE client_id = $1", actor.client_id)
    with pytest.raises(Conflict):
        await deleting
    assert (await store.get(actor.tenant_id, "clerk")).role_id == role.role_id


async def test_a_tenants_terms_are_remembered_for_a_second_and_no_longer(pool: Pool) -> None:
    actor, now = await new_actor(pool), 100.0
    directory = PostgresTenantDirectory(pool, clock=lambda: now)
    assert (await directory.terms(actor.tenant_id)).requests_per_minute is None
    async with tenant_transaction(pool, actor.tenant_id) as connection:
        await connection.execute("UPDATE tenants SET requests_per_minute = 7, regions = '{eu}'")
    now = 100.9
    assert (await directory.terms(actor.tenant_id)).requests_per_minute is None
    now = 101.0
    terms = await directory.terms(actor.tenant_id)
    assert (terms.requests_per_minute, terms.residency) == (7, ("eu",))


async def test_each_database_role_sees_what_is_its_own(pool: Pool, token_pool: Pool) -> None:
    one, two = await new_actor(pool), await new_actor(pool)
    await PostgresRoles(pool).create(clerk(one))
    async with tenant_transaction(pool, two.tenant_id) as connection:
        assert await connection.fetch("SELECT * FROM roles") == []
        assert [row["tenant_id"] for row in await connection.fetch("SELECT tenant_id FROM tenants")] == [two.tenant_id]
        assert await connection.execute("UPDATE tenants SET name = 'x' WHERE tenant_id = $1", one.tenant_id) == "UPDATE 0"
    # The platform reads every tenant, and changes none as itself.
    async with tenant_transaction(pool, SYSTEM_TENANT) as connection:
        found = {row["tenant_id"] for row in await connection.fetch("SELECT tenant_id FROM tenants")}
        assert {one.tenant_id, two.tenant_id} <= found
        assert await connection.execute("UPDATE tenants SET name = 'x' WHERE tenant_id = $1", one.tenant_id) == "UPDATE 0"
        assert await connection.fetch("SELECT * FROM roles WHERE tenant_id = $1", one.tenant_id) == []
    async with plain_transaction(token_pool) as connection:
        assert await connection.fetch("SELECT name, capabilities FROM roles WHERE tenant_id = $1", one.tenant_id)
    for statement in (
        "SELECT created_by FROM roles",
        "SELECT name FROM tenants",
        "UPDATE roles SET capabilities = '{}'",
        "UPDATE tenants SET deleted_at = NULL",
        "DELETE FROM roles",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with plain_transaction(token_pool) as connection:
                await connection.execute(statement)
