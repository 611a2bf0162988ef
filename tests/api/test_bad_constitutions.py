"""A constitution that cannot be used is put in force: new work stops with a clear answer, and one that can be used mends it.

On servers of its own: all tenants of a database share the constitution.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from fakes.constitution_server import ConstitutionServer
from live import Live, live, until
from nothing_written import assert_problem, rows, run_of_key

from adapters.constitution import constitution_hash, sign_constitution
from adapters.postgres.constitutions import PostgresConstitutions
from adapters.signing import new_signing_key, read_signing_key
from domain.constitution import Constitution
from domain.errors import ConstitutionUnavailable
from domain.ids import Prefix
from domain.names import Feature
from workers.embedded.constitution import builtin
from workers.embedded.stack import EmbeddedStack

NO_CEDAR = builtin().policies + "\npermit (principal, action"
ILL_TYPED = builtin().policies + '\n@id("ill-typed")\npermit (principal, action, resource) when { context.score like "high*" };'


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    with EmbeddedStack(tmp_path_factory.mktemp("law") / "home", durable=False, tied=True, time_skipping=True) as stack:
        yield stack


@dataclass
class Platform:
    """The product, and how a constitution is put in force in it."""

    product: Live
    stack: EmbeddedStack
    publish: Callable[[Constitution, dict[str, Any]], Awaitable[None]]
    versions: Iterator[int] = field(default_factory=lambda: count(10))

    async def enact(self, *, trusted: bool = True, **changes: Any) -> None:
        """Puts the built-in one with these changes in force, under a higher version than any before."""
        document = builtin().model_copy(update={"version": next(self.versions)} | changes)
        key = read_signing_key(self.stack.keys.constitution) if trusted else new_signing_key()
        await self.publish(document, sign_constitution(document, key))


# The store comes last: once it holds a higher version, the built-in one cannot be put in force again.
@pytest.fixture(scope="module", params=["url", "store"])
async def platform(request: pytest.FixtureRequest, own_stack: EmbeddedStack) -> AsyncIterator[Platform]:
    settings: dict[str, Any] = {"constitution_refresh_seconds": 1}
    async with AsyncExitStack() as exits:
        if request.param == "store":
            product = await exits.enter_async_context(live(own_stack, **settings))
            store = PostgresConstitutions(product.pool)

            async def activate(document: Constitution, envelope: dict[str, Any]) -> None:
                await store.activate(constitution_hash(document), document.version, envelope)

            yield Platform(product, own_stack, activate)
            return
        signed = sign_constitution(builtin(), read_signing_key(own_stack.keys.constitution))
        server = await exits.enter_async_context(ConstitutionServer(signed))
        product = await exits.enter_async_context(live(own_stack, constitution_url=server.url, **settings))

        async def serve(_document: Constitution, envelope: dict[str, Any]) -> None:
            server.envelope = envelope

        yield Platform(product, own_stack, serve)


@pytest.mark.parametrize(
    ("fault", "changes"),
    [
        ("do not parse", {"policies": NO_CEDAR}),
        ("ill-typed breaks the schema", {"policies": ILL_TYPED}),
        ("not signed by a trusted key", {"trusted": False}),
    ],
)
async def test_one_that_cannot_be_used_stops_new_work_until_a_good_one_is_in_force(
    platform: Platform, fault: str, changes: dict[str, Any]
) -> None:
    product = platform.product
    async with product.caller() as caller:

        async def ready() -> dict[str, Any]:
            answer = await caller.get("/readyz")
            return answer.json() | {"code": answer.status_code}

        async def failed() -> bool:
            return (await ready())["code"] == 503

        async def mended() -> bool:
            return (await ready())["code"] == 200

        await until(mended)
        session = (await caller.start("hello")).json()["session_id"]
        before = await rows(product, caller.tenant)

        await platform.enact(**changes)
        await until(failed)

        with pytest.raises(ConstitutionUnavailable, match=fault):
            await product.services.constitution.current()
        dependencies = (await ready())["dependencies"]
        assert dependencies.pop("constitution") == {"status": "failed", "needed": True, "reason": "constitution-unavailable"}
        assert {name for name, state in dependencies.items() if state["status"] != "ok"} == set()
        key, message = str(uuid.uuid4()), str(uuid.uuid4())
        for _ in range(2):
            refused = await caller.start("hello again", key=key)
            assert_problem(refused, 503, "constitution-unavailable")
            assert refused.json()["retryable"] is True
            assert int(refused.headers["Retry-After"]) >= 1
        assert_problem(await caller.send(session, "hello once more", key=message), 503, "constitution-unavailable")
        fixed = await run_of_key(product, caller.tenant, key, Feature.SESSION, Prefix.SESSION)
        assert fixed is not None
        assert fixed[1] is None
        assert await rows(product, caller.tenant) == before
        assert (await caller.transcript(session))["turns"][0]["status"] == "completed"

        await platform.enact()
        await until(mended)

        answer = await caller.start("hello again", key=key)
        assert answer.status_code == 201, answer.text
        assert answer.json()["session_id"] == fixed[0]
        assert len((await caller.get("/v1/sessions")).json()["sessions"]) == 2
        assert (await caller.send(session, "hello once more", key=message)).json()["turn"]["status"] == "completed"
        assert len((await caller.transcript(session))["turns"]) == 2
