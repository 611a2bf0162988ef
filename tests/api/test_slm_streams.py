"""Answers over HTTP while they are written: each character once, whatever becomes of Redis, attempts and connections."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from gateway_under_test import Gateway, StartGateway
from redis import asyncio as redis_asyncio

from adapters.postgres.blobs import PostgresBlobs
from adapters.postgres.identity import NewClient, disable_client
from adapters.postgres.slm_requests import PostgresSlmRequests
from adapters.redis.connection import PAUSE_SECONDS, RedisConnection
from adapters.redis.token_reads import RedisTokenReads
from adapters.redis.token_streams import RedisTokenStreams
from api.event_streams import StreamPlaces
from domain.actors import Actor
from domain.blobs import BlobRef
from domain.decisions import Decision, GateRequest, Verdict
from domain.errors import ModelContentFiltered
from domain.ids import Prefix
from domain.models import SlmAnswer, Usage
from domain.names import Effect, Scope
from domain.sessions import TurnError
from domain.slm import SlmRequestInput, SlmStatus
from domain.token_streams import Mark, Place, TokenPiece
from runtime.ids import new_id
from workers.embedded.stack import EmbeddedStack

ANSWER = "One sentence. Grüße aus Köln! 🎈 And a third one."
PIECES = ("One sentence.", " Grüße aus Köln!", " 🎈 And a third one.")


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class CountedReads:
    """A reading side that counts how often it is asked."""

    def __init__(self, reads: RedisTokenReads) -> None:
        self._reads, self.asked = reads, 0

    async def read(self, tenant_id: str, request_id: str, after: Place, wait_seconds: float) -> tuple[TokenPiece, ...]:
        self.asked += 1
        return await self._reads.read(tenant_id, request_id, after, wait_seconds)


@dataclasses.dataclass
class Worker:
    """What a worker does to one request: writes its answer, and records its end."""

    gateway: Gateway
    client: NewClient
    streams: RedisTokenStreams
    reads: CountedReads
    clock: Clock
    request_id: str = dataclasses.field(default_factory=lambda: new_id(Prefix.SLM_REQUEST))

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.gateway.token(self.client)}"}

    @property
    def path(self) -> str:
        return f"/v1/slm/requests/{self.request_id}/stream"

    async def accept(self) -> None:
        """The row, as the request's workflow records it."""
        actor = Actor(
            tenant_id=self.client.tenant_id,
            subject=self.client.client_id,
            client_id=self.client.client_id,
            scopes=self.client.scopes,
            jti="test",
        )
        text = BlobRef(sha256="a" * 64, size=1, media_type="text/plain")
        asked = GateRequest(
            actor=actor,
            workflow_id=f"slm/{actor.tenant_id}/{self.request_id}",
            step_key="start",
            effects=(Effect.MODEL_CALL,),
            resource=self.request_id,
            region="local",
            at=datetime.now(UTC),
        )
        request = SlmRequestInput(
            request_id=self.request_id, actor=actor, role="dialogue_reasoning", input=text, text=text, stream=True, region="local"
        )
        decision = Decision(
            decision_id=new_id(Prefix.DECISION), verdict=Verdict.ALLOW, input_digest="a" * 64, decided_at=asked.at
        )
        await PostgresSlmRequests(self.gateway.pool).open(request, "run", asked, decision, {}, 10)

    async def write(self, *texts: str, attempt: int = 1, start: int = 0) -> int:
        for text in texts:
            await self.streams.append(self.client.tenant_id, self.request_id, attempt, start, text)
            start += len(text)
        return start

    async def complete(self, text: str = ANSWER) -> None:
        reply = await PostgresBlobs(self.gateway.pool).put(self.client.tenant_id, text.encode())
        answer = SlmAnswer(reply=reply, provider="p", model="m", fallback=False, usage=Usage(input_tokens=1, output_tokens=2))
        await self.close(SlmStatus.COMPLETED, answer)

    async def close(self, status: SlmStatus, answer: SlmAnswer | None = None, error: TurnError | None = None) -> None:
        await PostgresSlmRequests(self.gateway.pool).close(self.client.tenant_id, self.request_id, status, answer, error)


class Reader:
    """A client that follows an answer as an EventSource does."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.text, self.mark, self.restarts, self.comments = "", "", 0, 0
        self.end: dict[str, Any] | None = None
        self._lines: AsyncIterator[str]

    @asynccontextmanager
    async def connected(self, **parameters: Any) -> AsyncGenerator[httpx2.Response]:
        """One connection, which goes on where the last one ended."""
        headers = self.worker.headers | ({"Last-Event-ID": self.mark} if self.mark else {})
        async with (
            self.worker.gateway.http() as http,
            http.stream("GET", self.worker.path, headers=headers, params=parameters) as response,
        ):
            self._lines = response.aiter_lines()
            yield response

    async def until(self, text: str) -> None:
        """Reads until it holds that text."""
        async with asyncio.timeout(15):
            while self.text != text:
                assert await self._event(), f"it ended at {self.text!r}"

    async def to_the_end(self) -> None:
        """Reads until the other side ends it."""
        async with asyncio.timeout(15):
            while await self._event():
                pass

    async def _event(self) -> bool:
        fields: dict[str, str] = {}
        async for line in self._lines:
            if line.startswith(":"):
                self.comments += 1
            elif line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "data" in fields:
                self._take(fields["event"], json.loads(fields["data"]), fields.get("id"))
                return True
        return False

    def _take(self, event: str, data: dict[str, Any], mark: str | None) -> None:
        self.mark = mark or self.mark
        if event == "delta":
            self.text += data["text"]
        elif event == "restart":
            self.text, self.restarts = "", self.restarts + 1
        else:
            self.end = data


@pytest.fixture
async def worker(stack: EmbeddedStack, start_gateway: StartGateway) -> AsyncIterator[Worker]:
    """A worker with a request, and a gateway that reads from Valkey what it writes."""
    clock = Clock()
    written, read = (RedisConnection(stack.environment["REDIS_URL"], "test", clock) for _ in range(2))
    reads, streams = RedisTokenReads(read), RedisTokenStreams(written)
    counted = CountedReads(reads)
    gateway = await start_gateway(token_reads=counted, streams=StreamPlaces(per_client=2, heartbeat_seconds=0.3))
    made = Worker(gateway, await gateway.client(), streams, counted, clock)
    await made.accept()
    yield made
    await streams.aclose()
    await reads.aclose()
    await written.aclose()
    await read.aclose()


@pytest.fixture
async def valkey(stack: EmbeddedStack) -> AsyncIterator[Any]:
    client: Any = redis_asyncio.Redis.from_url(stack.environment["REDIS_URL"], decode_responses=True)
    yield client
    await client.aclose()


async def test_an_answer_is_read_while_it_is_written(worker: Worker) -> None:
    reader = Reader(worker)
    async with reader.connected() as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        place = 0
        for number, piece in enumerate(PIECES, 1):
            place = await worker.write(piece, start=place)
            await reader.until("".join(PIECES[:number]))
        await worker.complete()
        await reader.to_the_end()
    assert (reader.text, reader.restarts) == (ANSWER, 0)
    assert reader.end is not None
    assert (reader.end["status"], reader.end["text"]) == ("completed", ANSWER)


async def test_who_comes_back_misses_nothing_and_gets_nothing_twice(worker: Worker) -> None:
    reader, place = Reader(worker), 0
    for number, piece in enumerate(PIECES, 1):
        async with reader.connected():
            place = await worker.write(piece, start=place)
            await reader.until("".join(PIECES[:number]))
    await worker.complete()
    async with reader.connected():
        await reader.to_the_end()
    assert (reader.text, reader.restarts) == (ANSWER, 0)
    # And again after the end.
    async with reader.connected():
        await reader.to_the_end()
    assert reader.text == ANSWER


async def test_a_retried_attempt_begins_anew(worker: Worker) -> None:
    reader = Reader(worker)
    async with reader.connected():
        await worker.write("Something else.", attempt=1)
        await reader.until("Something else.")
    await worker.streams.end(worker.client.tenant_id, worker.request_id, 1)
    await worker.write(PIECES[0], attempt=2)
    async with reader.connected():
        await reader.until(PIECES[0])
        assert reader.restarts == 1
        await worker.complete()
        await reader.to_the_end()
    assert (reader.text, reader.restarts) == (ANSWER, 1)


async def test_emptied_in_mid_stream_the_rest_comes_from_the_record(worker: Worker, valkey: Any) -> None:
    reader = Reader(worker)
    async with reader.connected():
        place = await worker.write(PIECES[0])
        await reader.until(PIECES[0])
        await valkey.flushall()
        # Does not connect to what the reader holds, since what is between was lost with the rest.
        await worker.write(PIECES[2], start=place + len(PIECES[1]))
        await worker.complete()
        await reader.to_the_end()
    assert (reader.text, reader.restarts) == (ANSWER, 0)


async def test_killed_in_mid_stream_the_rest_comes_from_the_record(stack: EmbeddedStack, worker: Worker) -> None:
    reader, part = Reader(worker), stack.part("valkey")
    async with reader.connected():
        place = await worker.write(PIECES[0])
        await reader.until(PIECES[0])
        await asyncio.to_thread(part.kill9)
        try:
            await worker.write(PIECES[1], start=place)
            await worker.complete()
            await reader.to_the_end()
        finally:
            await asyncio.to_thread(part.start)
    assert (reader.text, reader.restarts) == (ANSWER, 0)
    worker.clock.now += PAUSE_SECONDS


async def test_a_changed_answer_is_given_anew(worker: Worker) -> None:
    """The final review may take something out that was shown."""
    reader = Reader(worker)
    async with reader.connected():
        await worker.write(PIECES[0])
        await reader.until(PIECES[0])
    await worker.complete("One [redacted:secret]. And more.")
    async with reader.connected():
        await reader.to_the_end()
    assert (reader.text, reader.restarts) == ("One [redacted:secret]. And more.", 1)


async def test_without_a_reading_side_the_answer_comes_when_it_is_recorded(start_gateway: StartGateway, worker: Worker) -> None:
    worker.gateway = await start_gateway(token_reads=None)
    reader = Reader(worker)
    async with reader.connected():
        await worker.complete()
        await reader.to_the_end()
    assert reader.text == ANSWER


@pytest.mark.parametrize("status", [SlmStatus.FAILED, SlmStatus.CANCELLED, SlmStatus.DENIED])
async def test_a_request_without_an_answer_says_why(worker: Worker, status: SlmStatus) -> None:
    reader = Reader(worker)
    async with reader.connected():
        await worker.write(PIECES[0])
        await reader.until(PIECES[0])
        await worker.close(status, error=TurnError(type=ModelContentFiltered.type, detail="It was refused."))
        await reader.to_the_end()
    assert reader.text == PIECES[0]
    assert reader.end is not None
    assert (reader.end["status"], reader.end["error"]["type"]) == (status.value, "model-content-filtered")
    assert "text" not in reader.end


async def test_a_silent_stream_shows_that_it_lives(worker: Worker) -> None:
    reader = Reader(worker)
    async with reader.connected():
        await worker.write(PIECES[0])
        await reader.until(PIECES[0])
        before, asked = reader.comments, worker.reads.asked
        await asyncio.sleep(1.5)
        await worker.complete()
        await reader.to_the_end()
    assert reader.comments - before >= 2
    # And waits without asking all the time.
    assert worker.reads.asked - asked <= 5


async def test_a_client_holds_so_many_streams_at_once(worker: Worker) -> None:
    first, second, third = (Reader(worker) for _ in range(3))
    async with first.connected(), second.connected(), third.connected() as response:
        assert response.status_code == 429
        assert response.headers["content-type"] == "application/problem+json"
    await worker.complete()
    async with third.connected():
        await third.to_the_end()
    assert third.text == ANSWER


async def test_it_ends_with_the_clients_authority(worker: Worker) -> None:
    reader = Reader(worker)
    async with reader.connected():
        await worker.write(PIECES[0])
        await reader.until(PIECES[0])
        await disable_client(worker.gateway.pool, worker.client.tenant_id, worker.client.client_id)
        await reader.to_the_end()
    assert reader.end is None


async def test_it_ends_with_the_gateway(worker: Worker) -> None:
    reader = Reader(worker)
    async with reader.connected():
        await worker.write(PIECES[0])
        await reader.until(PIECES[0])
        worker.gateway.services.streams.close()
        await reader.to_the_end()
    assert reader.end is None


async def test_a_foreign_or_unknown_request_is_not_there(worker: Worker) -> None:
    foreign = dataclasses.replace(worker, client=await worker.gateway.client())
    unknown = dataclasses.replace(worker, request_id=new_id(Prefix.SLM_REQUEST))
    for other in (foreign, unknown, dataclasses.replace(worker, request_id="nonsense")):
        async with Reader(other).connected() as response:
            assert response.status_code == 404


@pytest.mark.parametrize("mark", ["1-2", "x", "1-2-3", "-1-0-00000000"])
async def test_what_is_no_mark_is_refused(worker: Worker, mark: str) -> None:
    reader = Reader(worker)
    reader.mark = mark
    async with reader.connected() as response:
        assert response.status_code == 400


async def test_a_mark_from_nowhere_gets_the_answer_anew(worker: Worker) -> None:
    await worker.write(*PIECES)
    await worker.complete()
    reader = Reader(worker)
    reader.mark = str(Mark(attempt=999_999_999, characters=10**15 - 1, check=1))
    async with reader.connected():
        await reader.to_the_end()
    assert (reader.text, reader.restarts) == (ANSWER, 1)


async def test_scopes(worker: Worker) -> None:
    lacking = dataclasses.replace(worker, client=await worker.gateway.client(Scope.SLM_CALL))
    async with Reader(lacking).connected() as response:
        assert response.status_code == 403
    only_reading = dataclasses.replace(
        worker, client=await worker.gateway.client(Scope.SLM_READ), request_id=new_id(Prefix.SLM_REQUEST)
    )
    await only_reading.accept()
    async with Reader(only_reading).connected(cancel_on_disconnect="true") as response:
        assert response.status_code == 403
