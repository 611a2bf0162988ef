"""The one-shot scripts of infra/compose.yaml, run against real servers with the command lines they use."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client

from adapters.postgres.migrate import Login, migrate
from domain.names import SearchAttribute
from workers.embedded.binaries import postgres_binary, script, unprivileged
from workers.embedded.keys import Passwords
from workers.embedded.part import Child
from workers.embedded.ports import free_ports
from workers.embedded.postgres import SUPERUSER, Postgres
from workers.embedded.stack import EmbeddedStack

INFRA = Path(__file__).parents[2] / "infra"
# Quotes and spaces must not break out of the script's SQL.
OWNER_PASSWORD = "owner's 'pass\\word"


@pytest.fixture
def empty_postgres(tmp_path: Path) -> Iterator[Postgres]:
    """A server as the image starts it: one superuser, no database of ours."""
    secret = SecretStr("superuserword")
    passwords = Passwords(superuser=secret, owner=secret, app=secret, relay=secret, token=secret, valkey=secret)
    server = Postgres(home=tmp_path, port=free_ports(1)[0], passwords=passwords, way=unprivileged(), durable=False)
    server.prepare()
    child = Child(server.part(), home=tmp_path, tied=True)
    child.start()
    yield server
    child.stop()


async def test_the_first_start_of_postgres_makes_an_owner_that_can_migrate(empty_postgres: Postgres) -> None:
    environment = {
        "PATH": f"{postgres_binary('psql').parent}:{os.environ['PATH']}",
        "POSTGRES_USER": SUPERUSER,
        "PGHOST": "127.0.0.1",
        "PGPORT": str(empty_postgres.port),
        "PGPASSWORD": "superuserword",
        "SOMA_OWNER_PASSWORD": OWNER_PASSWORD,
    }
    done = await asyncio.to_thread(
        subprocess.run, [INFRA / "postgres/make-owner.sh"], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    owner = empty_postgres.url("soma_owner", SecretStr(OWNER_PASSWORD))
    app = empty_postgres.url("soma_app_login", SecretStr("appword"))
    await migrate(owner, [Login("soma_app", app)], dbmate=script("dbmate"))
    connection = await asyncpg.connect(app)
    try:
        assert await connection.fetch("select * from sessions") == []
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("create role somebody")
    finally:
        await connection.close()


async def test_the_namespace_is_made_with_every_search_attribute_and_made_again_without_harm(stack: EmbeddedStack) -> None:
    address = stack.environment["TEMPORAL_ADDRESS"]
    environment = {
        "PATH": f"{script('temporal').parent}:{os.environ['PATH']}",
        "HOME": os.environ.get("HOME", "/"),
        "TEMPORAL_ADDRESS": address,
        "TEMPORAL_NAMESPACE": "compose-setup",
        "TEMPORAL_RETENTION": "48h",
        "SEARCH_ATTRIBUTES_FILE": str(INFRA / "temporal/search-attributes.txt"),
    }
    for _ in range(2):
        done = await asyncio.to_thread(
            subprocess.run,
            [INFRA / "temporal/setup-namespace.sh"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
    client = await Client.connect(address, namespace="compose-setup")
    answer = await client.operator_service.list_search_attributes(ListSearchAttributesRequest(namespace="compose-setup"))
    assert set(answer.custom_attributes) == {attribute.value for attribute in SearchAttribute}
