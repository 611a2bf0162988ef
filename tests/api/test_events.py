"""Events over HTTP: pages and streams of one tenant, complete and in order, for as long as the caller may read them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from cloudevents.core.formats.json import JSONFormat
from gateway_under_test import PUBLIC_URL, Gateway, StartGateway, eventually

from adapters.postgres.connection import Pool, connect, create_pool, tenant_transaction
from adapters.postgres.events import PostgresEvents
from adapters.postgres.identity import NewClient, disable_client
from adapters.postgres.notices import Notices
from adapters.postgres.outbox import event_of, insert_events
from adapters.postgres.sessions import PostgresSessions
from adapters.tokens import JoseTokens
from api.asyncapi import document
from api.event_streams import EventStream, StreamPlaces
from domain.actors import Actor
from domain.decisions import Decision, GateRequest, Verdict
from domain.event_data.base import EventData
from domain.event_data.documents import DocumentDeleted
from domain.event_data.sessions import TurnCancelled
from domain.events import NewEvent
from domain.ids import Prefix
from domain.names import Effect, Scope, Topic
from domain.sessions import SessionInput
from runtime.ids import new_id
from workers.embedded.stack import EmbeddedStack

STREAM = {"Accept": "text/event-stream"}


class Reader:
    """A client of a fresh tenant, with what it wrote."""

    def __init__(self, gateway: Gateway, client: NewClient) -> None:
        self.gateway, self.client = gateway, client
        self.headers = {"Authorization": f"Bearer {gateway.token(client)}"}

    @property
    def tenant(self) -> str:
        return self.client.tenant_id

    async def write(self, *data: EventData) -> list[str]:
        """Commits events and gives their ids."""
        new = [event_of(item) for item in data]
        async with tenant_transaction(self.gateway.pool, self.tenant) as connection:
            await insert_events(connection, self.tenant, new)
        return [event.event_id for event in new]

    async def get(self, path: str, **parameters: Any) -> httpx2.Response:
        async with self.gateway.http() as http:
            return await http.get(path, params=parameters, headers=self.headers)


class Stream:
    """An open event stream, read as a browser does."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()
        self.comments = 0

    async def frame(self) -> dict[str, str] | None:
        """The fields of the next event or hint; None at the end of the stream."""
        fields: dict[str, str] = {}
        async for line in self._lines:
            if line.startswith(":"):
                self.comments += 1
                fields.setdefault("comment", "")
            elif line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif fields:
                return fields
        return None

    async def take(self, count: int) -> list[dict[str, str]]:
        """That many events; comments and hints are skipped."""
        found: list[dict[str, str]] = []
        async with asyncio.timeout(15):
            while len(found) < count:
                frame = await self.frame()
                assert frame is not None, "the stream ended"
                if "data" in frame:
                    found.append(frame)
        return found

    async def ended(self) -> None:
        """Returns once the other side has ended it."""
        async with asyncio.timeout(15):
            while await self.frame() is not None:
                pass


@asynccontextmanager
async def opened(reader: Reader, path: str, **options: Any) -> AsyncGenerator[Stream]:
    headers = reader.headers | STREAM | options.pop("headers", {})
    async with (
        reader.gateway.http() as http,
        http.stream("GET", path, headers=headers, params=options) as response,
    ):
        yield Stream(response)


def ids(frames: list[dict[str, str]]) -> list[str]:
    return [json.loads(frame["data"])["id"] for frame in frames]


def deleted() -> DocumentDeleted:
    return DocumentDeleted(document_id=new_id(Prefix.DOCUMENT))


def turn(session_id: str) -> TurnCancelled:
    return TurnCancelled(session_id=session_id, turn_id=new_id(Prefix.TURN), seq=1)


async def stored_session(gateway: Gateway, client: NewClient) -> str:
    """A session as its workflow records it."""
    session_id = new_id(Prefix.SESSION)
    actor = Actor(
        tenant_id=client.tenant_id, subject=client.client_id, client_id=client.client_id, scopes=client.scopes, jti="test"
    )
    session = SessionInput(session_id=session_id, actor=actor, request_key="key", region="local")
    at = datetime.now(UTC)
    request = GateRequest(
        actor=actor,
        workflow_id=f"session/{client.tenant_id}/{session_id}",
        step_key="start",
        effects=(Effect.SESSION_START,),
        resource=session_id,
        region="local",
        at=at,
    )
    decision = Decision(decision_id=new_id(Prefix.DECISION), verdict=Verdict.ALLOW, input_digest="a" * 64, decided_at=at)
    await PostgresSessions(gateway.pool).start(session, "run", request.workflow_id, request, decision, {})
    return session_id


@pytest.fixture
async def reader(gateway: Gateway) -> Reader:
    return Reader(gateway, await gateway.client())


async def test_pages_give_everything_once_and_go_on_for_ever(reader: Reader) -> None:
    empty = (await reader.get("/v1/events")).json()
    assert empty == {"events": [], "next": None}
    wrote = await reader.write(*(deleted() for _ in range(5)))
    found: list[str] = []
    after: dict[str, str] = {}
    for expected in (2, 2, 1, 0):
        page = (await reader.get("/v1/events", limit=2, **after)).json()
        assert len(page["events"]) == expected
        found += [event["id"] for event in page["events"]]
        after = {"after": page["next"]}
    assert found == wrote
    wrote = await reader.write(deleted())
    assert [event["id"] for event in (await reader.get("/v1/events", **after)).json()["events"]] == wrote


async def test_an_event_is_a_cloud_event_others_can_read(reader: Reader) -> None:
    new = event_of(deleted()).model_copy(update={"data": {"a": None, "b": [1]}, "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})
    async with tenant_transaction(reader.gateway.pool, reader.tenant) as connection:
        await insert_events(connection, reader.tenant, [new])
    (event,) = (await reader.get("/v1/events")).json()["events"]
    read = JSONFormat().read(None, json.dumps(event))
    assert (read.get_id(), read.get_source(), read.get_subject()) == (new.event_id, "urn:somagent:local", new.subject)
    assert read.get_data() == new.data
    assert read.get_extension("partitionkey") == f"{reader.tenant}/{new.subject}"
    assert read.get_extension("traceparent") == new.traceparent
    # Its sequence is a cursor too.
    assert (await reader.get("/v1/events", after=event["sequence"])).json()["events"] == []


async def test_pages_are_filtered(reader: Reader) -> None:
    session_id = new_id(Prefix.SESSION)
    _, turned = await reader.write(deleted(), turn(session_id))
    by_topic = (await reader.get("/v1/events", topic=Topic.SESSION_EVENTS.value)).json()["events"]
    by_subject = (await reader.get("/v1/events", subject=session_id)).json()["events"]
    assert [event["id"] for event in by_topic] == [event["id"] for event in by_subject] == [turned]


async def test_what_events_hold_is_described_for_everyone(gateway: Gateway) -> None:
    async with gateway.http() as http:
        answer = await http.get("/asyncapi.json")
    assert answer.json() == document()


async def test_latest_skips_what_was(reader: Reader) -> None:
    await reader.write(deleted())
    start = (await reader.get("/v1/events", after="latest")).json()
    assert start["events"] == []
    wrote = await reader.write(deleted())
    assert [event["id"] for event in (await reader.get("/v1/events", after=start["next"])).json()["events"]] == wrote


async def test_tenants_never_meet(gateway: Gateway, reader: Reader) -> None:
    other = Reader(gateway, await gateway.client())
    await reader.write(deleted())
    assert (await other.get("/v1/events")).json()["events"] == []
    async with opened(other, "/v1/events") as stream:
        await stream.frame()
        await reader.write(deleted())
        (own,) = await other.write(deleted())
        assert ids(await stream.take(1)) == [own]


@pytest.mark.parametrize(
    "parameters",
    [
        {"after": "x"},
        {"after": "99999999999999999999-1"},
        {"topic": "no.such"},
        {"limit": 0},
        {"limit": 201},
        {"subject": "\x00"},
        {"subject": "a b"},
    ],
)
async def test_what_makes_no_sense_is_refused(reader: Reader, parameters: dict[str, Any]) -> None:
    answer = await reader.get("/v1/events", **parameters)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_the_scope_is_needed(gateway: Gateway, accept: str) -> None:
    narrow = Reader(gateway, await gateway.client(Scope.SESSION_READ))
    async with gateway.http() as http:
        assert (await http.get("/v1/events", headers={"Accept": accept})).status_code == 401
        answer = await http.get("/v1/events", headers=narrow.headers | {"Accept": accept})
    assert (answer.status_code, answer.json()["type"].rsplit("/", 1)[-1]) == (403, "insufficient-scope")


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_the_events_of_an_unknown_or_foreign_session_are_not_found(gateway: Gateway, reader: Reader, accept: str) -> None:
    foreign = await stored_session(gateway, await gateway.client())
    async with gateway.http() as http:
        for session_id in (foreign, new_id(Prefix.SESSION), "nonsense"):
            answer = await http.get(f"/v1/sessions/{session_id}/events", headers=reader.headers | {"Accept": accept})
            assert answer.status_code == 404
            assert answer.headers["content-type"] == "application/problem+json"


async def test_a_session_has_its_own_events_and_no_others(gateway: Gateway, reader: Reader) -> None:
    session_id = await stored_session(gateway, reader.client)
    await reader.write(turn(new_id(Prefix.SESSION)), deleted())
    path = f"/v1/sessions/{session_id}/events"
    started = (await reader.get(path)).json()["events"]
    assert {event["type"] for event in started} == {"somagent.session.started.v1", "somagent.decision.recorded.v1"}
    assert {event["subject"] for event in started} == {session_id}
    async with opened(reader, path, topic="session.events") as stream:
        first = await stream.take(1)
        assert json.loads(first[0]["data"])["type"] == "somagent.session.started.v1"
        _, own = await reader.write(turn(new_id(Prefix.SESSION)), turn(session_id))
        assert ids(await stream.take(1)) == [own]


async def test_a_stream_goes_on_where_the_last_one_ended(reader: Reader) -> None:
    before = await reader.write(*(deleted() for _ in range(3)))
    async with opened(reader, "/v1/events") as stream:
        assert stream.response.headers["content-type"].startswith("text/event-stream")
        assert stream.response.headers["x-accel-buffering"] == "no"
        hint = await stream.frame()
        assert hint is not None
        assert hint["retry"] == "2000"
        frames = await stream.take(2)
        assert frames[0]["event"] == "somagent.document.deleted.v1"
        later = await reader.write(deleted())
    resume = {"Last-Event-ID": frames[-1]["id"]}
    async with opened(reader, "/v1/events", headers=resume, after="1-1") as stream:
        rest = await stream.take(2)
        live = await reader.write(deleted(), deleted())
        rest += await stream.take(2)
    assert ids(frames) + ids(rest) == before + later + live


async def test_a_stream_loses_nothing_to_a_transaction_held_open(stack: EmbeddedStack, reader: Reader) -> None:
    held: list[NewEvent] = [event_of(deleted())]
    connection = await connect(stack.environment["DATABASE_URL"], "tests-late")
    try:
        async with opened(reader, "/v1/events") as stream:
            await stream.frame()
            await connection.execute(f"BEGIN; SELECT set_config('app.tenant', '{reader.tenant}', true)")
            await insert_events(connection, reader.tenant, held)
            later = await reader.write(deleted())
            later += await reader.write(deleted())
            await connection.execute("COMMIT")
            assert ids(await stream.take(3)) == [held[0].event_id, *later]
    finally:
        await connection.close()


async def test_a_silent_stream_says_that_it_lives(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(streams=StreamPlaces(heartbeat_seconds=0.2))
    reader = Reader(gateway, await gateway.client())
    async with opened(reader, "/v1/events") as stream:
        hint, beat = await stream.frame(), await stream.frame()
        assert (hint, beat) == ({"comment": "", "retry": "2000"}, {"comment": ""})
    assert StreamPlaces().heartbeat_seconds <= 15


async def test_a_stream_ends_with_its_token(stack: EmbeddedStack, start_gateway: StartGateway) -> None:
    now = time.time()
    keys = json.loads(stack.keys.signing.read_text())
    tokens = JoseTokens(keys, issuer=PUBLIC_URL, audience="somagent", lifetime_seconds=900, clock=lambda: now)
    gateway = await start_gateway(tokens=tokens)
    reader = Reader(gateway, await gateway.client())
    async with opened(reader, "/v1/events") as stream:
        await reader.write(deleted())
        await stream.take(1)
        now += 1000
        await stream.ended()


@pytest.mark.parametrize("busy", [False, True])
async def test_a_stream_ends_when_its_client_is_disabled(start_gateway: StartGateway, busy: bool) -> None:
    gateway = await start_gateway(streams=StreamPlaces(heartbeat_seconds=0.3))
    reader = Reader(gateway, await gateway.client())

    async def keep_writing() -> None:
        while True:
            await reader.write(deleted())

    async with opened(reader, "/v1/events") as stream:
        await stream.frame()
        writing = asyncio.create_task(keep_writing()) if busy else None
        await disable_client(gateway.pool, reader.tenant, reader.client.client_id)
        await stream.ended()
        if writing is not None:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)


async def test_streams_end_when_the_gateway_stops(start_gateway: StartGateway) -> None:
    places = StreamPlaces()
    gateway = await start_gateway(streams=places)
    reader = Reader(gateway, await gateway.client())
    async with opened(reader, "/v1/events") as stream:
        await stream.frame()
        places.close()
        await stream.ended()


async def test_a_client_holds_a_bounded_number_of_streams(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(streams=StreamPlaces(per_client=2))
    reader = Reader(gateway, await gateway.client())
    async with opened(reader, "/v1/events") as first, opened(reader, "/v1/events") as second:
        assert (first.response.status_code, second.response.status_code) == (200, 200)
        async with opened(reader, "/v1/events") as third:
            assert third.response.status_code == 429
            assert third.response.headers["content-type"] == "application/problem+json"
        assert (await reader.get("/v1/events")).status_code == 200
        other = Reader(gateway, await gateway.client())
        async with opened(other, "/v1/events") as theirs:
            assert theirs.response.status_code == 200

    async def free() -> bool:
        async with opened(reader, "/v1/events") as again:
            return again.response.status_code == 200

    await eventually(free, wanted=True)


async def test_open_streams_hold_no_connection(stack: EmbeddedStack, start_gateway: StartGateway) -> None:
    pool: Pool = await create_pool(stack.environment["DATABASE_URL"], 1, "tests-one")
    notices = Notices(stack.environment["DATABASE_URL"])
    try:
        gateway = await start_gateway(events=PostgresEvents(pool, notices))
        reader = Reader(gateway, await gateway.client())
        # More than the buffers between here and there hold, so that all of them are stuck while they send.
        wide = event_of(deleted()).model_copy(update={"data": {"wide": "x" * 200_000}})
        for _ in range(60):
            async with tenant_transaction(gateway.pool, reader.tenant) as connection:
                await insert_events(connection, reader.tenant, [wide.model_copy(update={"event_id": new_id(Prefix.EVENT)})])
        async with opened(reader, "/v1/events"), opened(reader, "/v1/events"), opened(reader, "/v1/events"):
            async with asyncio.timeout(5):
                for _ in range(3):
                    assert (await reader.get("/v1/events", limit=1)).status_code == 200
    finally:
        await notices.close()
        await pool.close()


async def test_a_reader_that_takes_nothing_is_let_go(gateway: Gateway) -> None:
    client = await gateway.client()
    actor = Actor(tenant_id=client.tenant_id, subject="s", client_id=client.client_id, scopes=(), jti="j")
    places = StreamPlaces(per_client=1)

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b": \n\n"

    async def stuck(_: object) -> None:
        await asyncio.Event().wait()

    async def silent() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    response = EventStream(endless(), places, actor, longest_seconds=0.1)
    async with asyncio.timeout(5):
        await response({"type": "http", "asgi": {"spec_version": "2.3"}}, silent, stuck)
    with places.take(actor):
        pass


async def test_a_stream_outlives_a_restart_of_postgres(stack: EmbeddedStack, reader: Reader) -> None:
    async with opened(reader, "/v1/events") as stream:
        first = await reader.write(deleted())
        assert ids(await stream.take(1)) == first
        postgres = stack.part("postgres")
        await asyncio.to_thread(postgres.kill9)
        await asyncio.to_thread(postgres.start)
        # Written by another connection than those the gateway's pool just lost.
        pool = await create_pool(stack.environment["DATABASE_URL"], 1, "tests-after")
        new = event_of(deleted())
        async with tenant_transaction(pool, reader.tenant) as connection:
            await insert_events(connection, reader.tenant, [new])
        await pool.close()
        assert ids(await stream.take(1)) == [new.event_id]
