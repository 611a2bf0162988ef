"""What `soma bootstrap` makes, on a Postgres of its own: made once, healed when half of it is lost, careful with others' data."""

from __future__ import annotations

import asyncio
import hashlib
import stat
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from pydantic import SecretStr

from adapters.postgres.connection import Pool, create_pool
from adapters.postgres.constitutions import PostgresConstitutions
from adapters.postgres.identity import PostgresClientDirectory, create_client, disable_client
from adapters.signing import new_signing_key, public_jwks
from domain.errors import Conflict, DependencyUnavailable
from domain.names import Scope
from runtime.settings import Settings
from workers.bootstrap import ClientState, ConstitutionState, Prepared, prepare_platform
from workers.embedded.credentials import Credentials, credentials_file, find_credentials, write_credentials
from workers.embedded.stack import EmbeddedStack

T = TypeVar("T")


class Platform:
    """An embedded Postgres with nothing in it but the schema."""

    def __init__(self, stack: EmbeddedStack) -> None:
        self.home = stack.home
        self.settings = Settings.model_validate({name.lower(): value for name, value in stack.environment.items()})

    def prepare(self, home: Path | None = None, *, tenant: str = "demo", ours: bool = True, new_secret: bool = False) -> Prepared:
        return prepare_platform(home or self.home, self.settings, tenant=tenant, ours=ours, new_secret=new_secret)

    def run(self, url: SecretStr | None, work: Callable[[Pool], Awaitable[T]]) -> T:
        async def main() -> T:
            assert url is not None
            pool = await create_pool(url.get_secret_value(), 1)
            try:
                return await work(pool)
            finally:
                await pool.close()

        return asyncio.run(main())

    def opens(self) -> bool:
        """Whether the secret in this home's file is the demo client's."""
        kept = find_credentials(self.home, "demo")
        record = self.run(self.settings.database_token_url, lambda pool: PostgresClientDirectory(pool).find("demo-admin"))
        assert kept is not None
        assert record is not None
        assert set(record.scopes) == {scope.value for scope in Scope}
        return hashlib.sha256(kept.client_secret.get_secret_value().encode()).hexdigest() == record.secret_sha256

    def envelope(self) -> object:
        return self.run(self.settings.database_url, lambda pool: PostgresConstitutions(pool).active())


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    home = tmp_path_factory.mktemp("bootstrap") / "home"
    with EmbeddedStack(home, parts=("postgres",), durable=False, tied=True) as stack:
        yield stack


@pytest.fixture
def platform(postgres: EmbeddedStack) -> Platform:
    """As new: no tenant, no client, no constitution, no credentials."""
    found = Platform(postgres)

    async def empty(pool: Pool) -> None:
        async with pool.acquire() as connection:
            await connection.execute("TRUNCATE tenants, clients, constitutions, users CASCADE")

    found.run(SecretStr(postgres.environment["DATABASE_MIGRATION_URL"]), empty)
    for file in postgres.keys.directory.glob("*-client.json"):
        file.unlink()
    return found


def test_the_first_run_makes_all_and_the_second_changes_nothing(platform: Platform) -> None:
    first = platform.prepare()
    assert (first.client, first.constitution) == (ClientState.MADE, ConstitutionState.ACTIVATED)
    file = credentials_file(platform.home, "demo")
    assert first.credentials == str(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    content, envelope = file.read_bytes(), platform.envelope()
    assert envelope is not None
    assert platform.opens()

    second = platform.prepare()
    assert (second.client, second.constitution) == (ClientState.KEPT, ConstitutionState.KEPT)
    assert file.read_bytes() == content
    assert platform.envelope() == envelope


def test_a_file_that_is_lost_damaged_or_of_another_secret_is_written_anew(platform: Platform) -> None:
    platform.prepare()
    file = credentials_file(platform.home, "demo")
    stranger = Credentials(client_id="demo-admin", client_secret=SecretStr("of-an-older-backup"), tenant="demo")
    for spoil in (
        file.unlink,
        lambda: file.write_text('{"client_id": "demo-ad'),
        lambda: write_credentials(platform.home, stranger),
    ):
        spoil()
        assert platform.prepare().client is ClientState.RENEWED
        assert platform.opens()


def test_a_client_made_before_a_scope_existed_gets_it(platform: Platform) -> None:
    platform.prepare()
    tenant = "demo"
    file = credentials_file(platform.home, tenant)
    content = file.read_bytes()

    async def narrow(pool: Pool) -> None:
        async with pool.acquire() as connection:
            await connection.execute("BEGIN; SELECT set_config('app.tenant', 'demo', true)")
            await connection.execute("UPDATE clients SET scopes = '{session:read}' WHERE client_id = 'demo-admin'")
            await connection.execute("COMMIT")

    platform.run(platform.settings.database_url, narrow)
    assert platform.prepare(ours=False).client is ClientState.KEPT
    assert file.read_bytes() == content
    assert platform.prepare().client is ClientState.RENEWED
    assert platform.opens()


def test_on_a_database_of_others_a_client_is_made_but_its_secret_never_replaced_unasked(
    platform: Platform, tmp_path: Path
) -> None:
    assert platform.prepare(ours=False).client is ClientState.MADE
    assert platform.opens()

    second = tmp_path / "second home"
    found = platform.prepare(second, ours=False)
    assert (found.client, found.credentials) == (ClientState.ELSEWHERE, None)
    assert platform.opens(), "the first home is not locked out"
    assert not credentials_file(second, "demo").exists()

    assert platform.prepare(second, ours=False, new_secret=True).client is ClientState.RENEWED
    assert not platform.opens()


def test_a_disabled_client_stays_disabled(platform: Platform) -> None:
    platform.prepare()
    assert platform.run(platform.settings.database_url, lambda pool: disable_client(pool, "demo", "demo-admin"))
    found = platform.prepare()
    assert (found.client, found.credentials) == (ClientState.DISABLED, None)


def test_a_client_id_that_is_another_tenants_is_not_taken_over(platform: Platform) -> None:
    platform.prepare()
    platform.run(platform.settings.database_url, lambda pool: create_client(pool, "demo", "acme-admin", "in the way"))
    with pytest.raises(Conflict):
        platform.prepare(tenant="acme")
    assert not credentials_file(platform.home, "acme").exists()


def test_no_constitution_is_activated_that_nobody_would_trust(platform: Platform, tmp_path: Path) -> None:
    other = new_signing_key()
    trusted = tmp_path / "trusted.json"
    trusted.write_text(public_jwks({other.key_id: other.public}))
    platform.settings = platform.settings.model_copy(update={"constitution_trusted_keys_file": trusted})
    assert platform.prepare().constitution is ConstitutionState.UNSIGNED
    assert platform.envelope() is None


def test_a_constitution_from_a_url_needs_none_in_the_store(platform: Platform) -> None:
    platform.settings = platform.settings.model_copy(update={"constitution_url": "http://127.0.0.1:9/constitution.json"})
    assert platform.prepare().constitution is ConstitutionState.FETCHED
    assert platform.envelope() is None


def test_without_a_database_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DependencyUnavailable, match="soma up"):
        prepare_platform(tmp_path, Settings.model_validate({}), tenant="demo", ours=True)
