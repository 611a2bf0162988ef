"""What a new platform needs before anyone can use it: tenants, an admin client, a constitution in force.

Each is made where it is missing and otherwise left alone, so this may run twice or be killed between any two steps. What
surprises: a lost credentials file means a new secret on the embedded database alone. A database at an address of the operator's
may serve others who hold the old one, and they would be locked out.
"""

from __future__ import annotations

import asyncio
import fcntl
import hmac
import os
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from adapters.postgres.connection import Pool, create_pool
from adapters.postgres.constitutions import PostgresConstitutions
from adapters.postgres.identity import (
    NewClient,
    PostgresClientDirectory,
    create_client,
    ensure_tenant,
    replace_secret,
    secret_digest,
)
from domain.base import Contract
from domain.errors import Conflict, DependencyUnavailable
from domain.names import SYSTEM_TENANT, Scope
from domain.ports.identity import ClientRecord
from runtime.settings import Settings
from workers.embedded.credentials import Credentials, credentials_file, find_credentials, write_credentials
from workers.embedded.files import make_private
from workers.embedded.keys import Keys

_POOL_SIZE: Final = 2


class ClientState(StrEnum):
    """What became of the tenant's admin client."""

    MADE = "made"
    KEPT = "kept"
    RENEWED = "renewed"
    """It has a new secret: the old one was lost, does not open any more, or was to be replaced."""
    ELSEWHERE = "elsewhere"
    """It exists, and its secret is not in this home."""
    DISABLED = "disabled"


class ConstitutionState(StrEnum):
    """What became of the constitution."""

    ACTIVATED = "activated"
    KEPT = "kept"
    FETCHED = "fetched"
    """It comes from CONSTITUTION_URL, so the store needs none."""
    UNSIGNED = "unsigned"
    """None is active, and this home has no key that the platform trusts."""


class Prepared(Contract):
    """What stands afterwards. `credentials` is the file with the client's secret, where this home has it."""

    tenant: str
    client_id: str
    client: ClientState
    credentials: str | None
    constitution: ConstitutionState


def prepare_platform(home: Path, settings: Settings, *, tenant: str, ours: bool, new_secret: bool = False) -> Prepared:
    """Makes what is missing. `ours`: the database belongs to this home; `new_secret` replaces the client's in any case.

    Raises DependencyUnavailable, Conflict when the client's id is another tenant's, OSError.
    """
    with _alone(home):
        return asyncio.run(_prepare(home, settings, tenant, replace=ours, insist=new_secret))


async def _prepare(home: Path, settings: Settings, tenant: str, *, replace: bool, insist: bool) -> Prepared:
    if settings.database_url is None or settings.database_token_url is None:
        raise DependencyUnavailable(
            "No database is known; start the stack with `soma up`, or set DATABASE_URL and DATABASE_TOKEN_URL."
        )
    async with AsyncExitStack() as stack:
        pool = await create_pool(settings.database_url.get_secret_value(), _POOL_SIZE, "somagent-bootstrap")
        stack.push_async_callback(pool.close)
        tokens = await create_pool(settings.database_token_url.get_secret_value(), 1, "somagent-bootstrap")
        stack.push_async_callback(tokens.close)
        await ensure_tenant(pool, SYSTEM_TENANT, "SomaGent")
        await ensure_tenant(pool, tenant, tenant)
        client_id = f"{tenant}-admin"
        record = await PostgresClientDirectory(tokens).find(client_id)
        client = await _client(pool, home, tenant, client_id, record, replace=replace, insist=insist)
        held = client in (ClientState.MADE, ClientState.KEPT, ClientState.RENEWED)
        return Prepared(
            tenant=tenant,
            client_id=client_id,
            client=client,
            credentials=str(credentials_file(home, tenant)) if held else None,
            constitution=await _constitution(pool, home, settings),
        )


async def _client(
    pool: Pool, home: Path, tenant: str, client_id: str, record: ClientRecord | None, *, replace: bool, insist: bool
) -> ClientState:
    if record is None:
        return _keep(home, client_id, await create_client(pool, tenant, client_id, "admin"), ClientState.MADE)
    if record.tenant_id != tenant:
        raise Conflict(f"The client {client_id} belongs to the tenant {record.tenant_id}; name the tenant otherwise.")
    if record.disabled:
        return ClientState.DISABLED
    opens = _opens(find_credentials(home, tenant), record)
    complete = opens and frozenset(record.scopes).issuperset(Scope)
    if insist or (replace and not complete):
        return _keep(home, client_id, await replace_secret(pool, tenant, client_id), ClientState.RENEWED)
    return ClientState.KEPT if opens else ClientState.ELSEWHERE


def _opens(kept: Credentials | None, record: ClientRecord) -> bool:
    """Whether the secret in the file is the client's."""
    if kept is None or kept.client_id != record.client_id:
        return False
    return hmac.compare_digest(secret_digest(kept.client_secret.get_secret_value()), record.secret_sha256)


def _keep(home: Path, client_id: str, made: NewClient | None, state: ClientState) -> ClientState:
    if made is None:
        raise Conflict(f"The client {client_id} was made or removed meanwhile; run `soma bootstrap` again.")
    secret = SecretStr(made.secret)
    write_credentials(home, Credentials(client_id=made.client_id, client_secret=secret, tenant=made.tenant_id))
    return state


async def _constitution(pool: Pool, home: Path, settings: Settings) -> ConstitutionState:
    """Signs and activates the built-in one where none is active and those who verify it trust this home's key."""
    if settings.constitution_url:
        return ConstitutionState.FETCHED
    store = PostgresConstitutions(pool)
    if await store.active() is not None:
        return ConstitutionState.KEPT
    # Only the first start of a home comes here, and every other would pay for what these load.
    from adapters.constitution import constitution_hash
    from adapters.signing import read_signing_key, read_trusted_keys
    from workers.embedded.constitution import builtin, sign_builtin

    keys, trusted_file = Keys(home), settings.constitution_trusted_keys_file
    if not keys.constitution.exists() or trusted_file is None:
        return ConstitutionState.UNSIGNED
    key = read_signing_key(keys.constitution)
    trusted = read_trusted_keys(trusted_file).get(key.key_id)
    if trusted is None or trusted.public_bytes_raw() != key.public.public_bytes_raw():
        return ConstitutionState.UNSIGNED
    document = builtin()
    await store.activate(constitution_hash(document), document.version, sign_builtin(key))
    return ConstitutionState.ACTIVATED


@contextmanager
def _alone(home: Path) -> Generator[None]:
    """One at a time in this home, so that the secret in the file is the last one given."""
    lock = make_private(home / "run") / "bootstrap.lock"
    fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
