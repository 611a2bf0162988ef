"""Encrypted connections to what we stand on: both ends show certificates, and one that another authority made is refused."""

from __future__ import annotations

import asyncio
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from certificates import Authority, ServerFiles
from debian_postgres import debian_postgres
from fakes.vault_server import ROOT_TOKEN, FakeVault
from pydantic import SecretStr
from tls_front import tls_front

from adapters.postgres.connection import create_pool
from adapters.postgres.migrate import Login, migrate
from adapters.rate_limit import EdgeRateLimiter
from adapters.redis.connection import RedisAwayError, RedisConnection
from domain.errors import DependencyUnavailable, SecretStoreUnreachable
from runtime.client import connect
from runtime.settings import Settings
from workers.embedded.binaries import script
from workers.embedded.ports import free_ports
from workers.embedded.stack import EmbeddedStack
from workers.secrets import open_secrets

HOST = "127.0.0.1"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The installation's authority."""
    return Authority(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Another one."""
    return Authority(tmp_path_factory.mktemp("theirs"))


@pytest.fixture(scope="module")
def client(ours: Authority) -> ServerFiles:
    return ours.issue("gateway.soma", "client")


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory, ours: Authority) -> Iterator[str]:
    """`host:port/database` of a Postgres that takes TLS and certificates alone."""
    with debian_postgres(tmp_path_factory.mktemp("postgres"), ours.issue(HOST, "postgres")) as place:
        yield place


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory, ours: Authority) -> Iterator[str]:
    """`host:port` of a Redis that takes TLS and certificates alone."""
    (port,), files = free_ports(1), ours.issue(HOST, "redis")
    argv = ["redis-server", "--port", "0", "--tls-port", str(port), "--bind", HOST, "--save", "", "--appendonly", "no"]
    argv += ["--tls-cert-file", str(files.certificate), "--tls-key-file", str(files.key)]
    argv += ["--tls-ca-cert-file", str(files.authority), "--tls-auth-clients", "yes"]
    log = tmp_path_factory.mktemp("redis") / "log"
    with log.open("w") as out:
        server = subprocess.Popen(argv, stdout=out, stderr=out)
    try:
        while "Ready to accept connections" not in log.read_text():
            assert server.poll() is None, log.read_text()
        yield f"{HOST}:{port}"
    finally:
        server.terminate()
        server.wait(20)


def postgres_url(place: str, authority: Path, client: ServerFiles | None, user: str = "soma_owner:owner") -> str:
    shown = f"&sslcert={client.certificate}&sslkey={client.key}" if client else ""
    return f"postgresql://{user}@{place}?sslmode=verify-full&sslrootcert={authority}{shown}"


async def test_the_schema_is_migrated_and_the_application_connects_by_tls(
    postgres: str, ours: Authority, client: ServerFiles
) -> None:
    app = postgres_url(postgres, ours.authority, client, "soma_app_login:secret")
    await migrate(
        postgres_url(postgres, ours.authority, client), [Login("soma_app", app)], dbmate=script("dbmate"), wait_seconds=20
    )
    pool = await create_pool(app, 2)
    try:
        async with pool.acquire() as connection:
            asked = "SELECT ssl, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            row = await connection.fetchrow(asked)
            assert row is not None
            assert row["ssl"] is True
            assert row["client_dn"] is not None
    finally:
        await pool.close()


async def test_postgres_with_a_certificate_of_another_authority_or_name_is_not_spoken_to(
    postgres: str, ours: Authority, theirs: Authority, client: ServerFiles
) -> None:
    with pytest.raises(DependencyUnavailable, match=r"cannot be trusted.*self-signed"):
        await create_pool(postgres_url(postgres, theirs.authority, client), 1)
    with pytest.raises(DependencyUnavailable, match=r"cannot be trusted.*localhost"):
        await create_pool(postgres_url(postgres.replace(HOST, "localhost"), ours.authority, client), 1)


async def test_postgres_takes_nobody_without_a_certificate_and_nobody_in_plain_text(postgres: str, ours: Authority) -> None:
    for url in (
        postgres_url(postgres, ours.authority, None),
        f"postgresql://soma_owner:owner@{postgres}?sslmode=disable",
    ):
        with pytest.raises(Exception, match=r"valid client certificate|no encryption"):
            await create_pool(url, 1)


def redis_url(place: str, authority: Path, client: ServerFiles | None) -> str:
    shown = f"&ssl_certfile={client.certificate}&ssl_keyfile={client.key}" if client else ""
    return f"rediss://{place}/0?ssl_cert_reqs=required&ssl_check_hostname=true&ssl_ca_certs={authority}{shown}"


async def test_redis_is_used_by_tls(redis: str, ours: Authority, client: ServerFiles) -> None:
    url = redis_url(redis, ours.authority, client)
    connection, gateways = RedisConnection(url, "test"), [EdgeRateLimiter(url) for _ in range(2)]
    try:
        assert await connection.run(lambda redis: redis.ping()) is True
        key = uuid.uuid4().hex
        taken = [(await gateway.take("client", key, 1)).allowed for gateway in gateways]
        assert taken == [True, False], "the two count in the one Redis"
    finally:
        await connection.aclose()
        for gateway in gateways:
            await gateway.aclose()


@pytest.mark.parametrize("trouble", ["another authority", "no certificate"])
async def test_a_redis_that_cannot_be_trusted_is_away(
    redis: str, ours: Authority, theirs: Authority, client: ServerFiles, trouble: str
) -> None:
    url = redis_url(redis, theirs.authority, client) if trouble == "another authority" else redis_url(redis, ours.authority, None)
    connection = RedisConnection(url, "test")
    try:
        with pytest.raises(RedisAwayError):
            await connection.run(lambda redis: redis.ping())
    finally:
        await connection.aclose()


def temporal_by_tls(monkeypatch: pytest.MonkeyPatch, port: int, authority: Path, client: ServerFiles | None) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", f"{HOST}:{port}")
    monkeypatch.setenv("TEMPORAL_TLS_SERVER_CA_CERT_PATH", str(authority))
    if client is not None:
        monkeypatch.setenv("TEMPORAL_TLS_CLIENT_CERT_PATH", str(client.certificate))
        monkeypatch.setenv("TEMPORAL_TLS_CLIENT_KEY_PATH", str(client.key))


async def test_temporal_is_reached_by_mutual_tls_alone(
    stack: EmbeddedStack, ours: Authority, theirs: Authority, client: ServerFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = int(stack.environment["TEMPORAL_ADDRESS"].rpartition(":")[2])
    monkeypatch.setenv("TEMPORAL_NAMESPACE", stack.environment["TEMPORAL_NAMESPACE"])
    async with tls_front(plain, ours.issue(HOST, "temporal"), "h2") as port:
        temporal_by_tls(monkeypatch, port, ours.authority, client)
        assert await (await connect(Settings())).count_workflows() is not None
        stranger = theirs.issue("gateway.soma", "client")
        for authority, shown in ((theirs.authority, client), (ours.authority, stranger)):
            temporal_by_tls(monkeypatch, port, authority, shown)
            with pytest.raises(DependencyUnavailable):
                await connect(Settings(), wait_seconds=0.3)
        monkeypatch.delenv("TEMPORAL_TLS_CLIENT_CERT_PATH")
        monkeypatch.delenv("TEMPORAL_TLS_CLIENT_KEY_PATH")
        temporal_by_tls(monkeypatch, port, ours.authority, None)
        with pytest.raises(DependencyUnavailable):
            await connect(Settings(), wait_seconds=0.3)


async def test_vault_is_read_by_tls_with_its_authority_alone(ours: Authority, theirs: Authority) -> None:
    async with FakeVault() as vault:
        vault.put("models/openai", "the key")
        upstream = urlsplit(vault.base).port
        assert upstream is not None
        async with tls_front(upstream, ours.issue(HOST, "vault"), mutual=False) as port:
            known = Settings(secrets_store="vault", vault_addr=f"https://{HOST}:{port}", vault_token=SecretStr(ROOT_TOKEN))
            trusting = open_secrets(known.model_copy(update={"vault_cacert": ours.authority}))
            doubting = open_secrets(known.model_copy(update={"vault_cacert": theirs.authority}))
            try:
                assert (await trusting.read("models/openai")).value.get_secret_value() == "the key"
                with pytest.raises(SecretStoreUnreachable):
                    await doubting.read("models/openai")
            finally:
                await asyncio.gather(trusting.aclose(), doubting.aclose())
