"""The activities of a turn and of documents, with real stores, the embedded model and fakes of the vendors."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from fakes.openai_server import FakeOpenAI
from fakes.somabrain_server import FakeSomaBrain
from leases import NothingStopped, StoppedAfter
from session_rows import SessionRows
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.documents import DocumentActivities
from activities.effects import Effects
from activities.memory import MemoryActivities
from activities.slm import SlmActivities
from activities.slm_inputs import ModelInputs
from activities.slm_records import CallRecords
from adapters.extraction import PlainTextExtractor
from adapters.postgres.calls import PostgresCalls
from adapters.postgres.connection import Pool, tenant_transaction
from adapters.postgres.documents import PostgresDocuments
from adapters.postgres.forecasts import PostgresForecasts
from adapters.postgres.memories import PostgresMemory
from adapters.postgres.notices import Notices
from adapters.postgres.session_reads import PostgresSessionReads
from adapters.prices import GenaiPrices
from adapters.providers.extractive import NOTHING_RELEVANT, NOTHING_TO_READ, ExtractiveModel
from adapters.providers.openai_compatible import OpenAICompatibleModel
from adapters.redis.breakers import RedisBreakers
from adapters.redis.connection import RedisConnection
from adapters.redis.provider_limits import RedisProviderLimits
from adapters.somabrain import SomaBrainMemory
from domain.catalogue import Catalogue, ModelConfig, ProviderConfig, ProviderKind, RoleConfig
from domain.documents import DocumentDeletion
from domain.memory import RecallCall, RememberCall
from domain.models import Completion, CompletionRequest, SlmAnswer, SlmCall
from domain.ports.models import ModelProvider
from workers.embedded.stack import EmbeddedStack

EFFECTS = Effects(NothingStopped(), "local")
MARKER = "zebra-7741"
TEA = "Green tea steeps for two minutes. The shop opens at nine."
COFFEE = "Coffee is brewed for four minutes. Tea steeps for five minutes here."


@pytest.fixture
async def rows(pool: Pool) -> SessionRows:
    rows = SessionRows(pool)
    await rows.open()
    return rows


@pytest.fixture
async def vendor() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI() as fake:
        yield fake


@pytest.fixture
async def remote(vendor: FakeOpenAI) -> AsyncIterator[OpenAICompatibleModel]:
    config = ProviderConfig(kind=ProviderKind.OPENAI, base_url=vendor.url, timeout_seconds=20.0)
    model = OpenAICompatibleModel("openai_compatible", config, "k")
    yield model
    await model.close()


def environment(attempt: int = 1) -> ActivityEnvironment:
    env = ActivityEnvironment()
    began = env.info.started_time
    env.info = dataclasses.replace(
        env.info, attempt=attempt, workflow_id="session/t/s", current_attempt_scheduled_time=began - timedelta(milliseconds=250)
    )
    return env


def catalogue_with(provider: ModelProvider) -> Catalogue:
    """The one model of a provider, for the role that turns have."""
    name = "soma-extractive" if provider.name == "soma" else "fake-model"
    model = ModelConfig(provider=provider.name, name=name)
    return Catalogue(
        providers={provider.name: ProviderConfig(kind=ProviderKind.OPENAI)},
        models=(model,),
        roles={"dialogue_reasoning": RoleConfig(models=(str(model.candidate),))},
    )


class Turns:
    """Asks a model about the turns of a session."""

    def __init__(self, rows: SessionRows, provider: ModelProvider, effects: Effects = EFFECTS) -> None:
        self.rows = rows
        self.documents = PostgresDocuments(rows.pool)
        catalogue = catalogue_with(provider)
        sessions = PostgresSessionReads(rows.pool, Notices("postgresql://nobody.waits"))
        self.activities = SlmActivities(
            catalogue=catalogue,
            providers={provider.name: provider},
            inputs=ModelInputs(blobs=rows.blobs, sessions=sessions, documents=self.documents),
            records=CallRecords(catalogue, GenaiPrices(catalogue), mode="test", unpriced_counts=True, region="local"),
            journal=PostgresCalls(rows.pool),
            blobs=rows.blobs,
            breakers=RedisBreakers(RedisConnection(None, "tests"), "local"),
            limits=RedisProviderLimits(RedisConnection(None, "tests")),
            forecasts=PostgresForecasts(rows.pool),
            effects=effects,
        )

    async def call(self, question: str, *documents: str, **more: object) -> SlmCall:
        turn, message = await self.rows.turn(question)
        return SlmCall(
            actor=self.rows.actor,
            session_id=self.rows.session,
            turn_id=turn,
            role="dialogue_reasoning",
            message=message,
            documents=documents,
            **more,
        )

    async def document(self, text: str, name: str = "notes.txt") -> str:
        upload = await self.rows.upload(text.encode(), name=name)
        add = DocumentActivities(extractor=PlainTextExtractor(), blobs=self.rows.blobs, documents=self.documents).add
        await environment().run(add, upload)
        return upload.document_id

    async def run(self, call: SlmCall, attempt: int = 1, env: ActivityEnvironment | None = None) -> SlmAnswer:
        return await (env or environment(attempt)).run(self.activities.complete, call)

    async def reply(self, answer: SlmAnswer) -> str:
        return (await self.rows.blobs.get(self.rows.tenant, answer.reply.sha256)).decode()

    async def outcomes(self) -> list[tuple[object, object]]:
        return [(data["attempt"], data["outcome"]) for data in await self.rows.events("slm.metrics")]

    async def held(self) -> list[str]:
        """What became of the reservations."""
        async with tenant_transaction(self.rows.pool, self.rows.tenant) as connection:
            return [row["state"] for row in await connection.fetch("SELECT state FROM reservations ORDER BY attempt")]


async def test_the_embedded_model_quotes_the_document_with_offsets(rows: SessionRows) -> None:
    turns = Turns(rows, ExtractiveModel())
    tea, coffee = await turns.document(TEA, "tea.txt"), await turns.document(COFFEE, "coffee.txt")
    question = "How long does tea steep?"
    first = await turns.run(await turns.call(question, tea))
    second = await turns.run(await turns.call(question, coffee))
    assert await turns.reply(first) == "\u201cGreen tea steeps for two minutes.\u201d \u2014 tea.txt"
    assert await turns.reply(second) == "\u201cTea steeps for five minutes here.\u201d \u2014 coffee.txt"
    (citation,) = first.citations
    assert citation.source == tea
    assert TEA[citation.start : citation.end] == "Green tea steeps for two minutes."
    assert (first.provider, first.model, first.fallback) == ("soma", "soma-extractive", True)
    recorded = (await rows.events("slm.metrics"))[0]
    assert recorded["input_tokens"] == first.usage.input_tokens > 0
    assert (recorded["outcome"], recorded["queue_wait_ms"], recorded["attempt"]) == ("completed", 250, 1)


async def test_the_embedded_model_says_when_it_cannot_answer(rows: SessionRows) -> None:
    turns = Turns(rows, ExtractiveModel())
    assert await turns.reply(await turns.run(await turns.call("Hello there"))) == NOTHING_TO_READ
    tea = await turns.document(TEA)
    answer = await turns.run(await turns.call("Who won the cup?", tea))
    assert (await turns.reply(answer), answer.citations) == (NOTHING_RELEVANT, ())


async def test_earlier_messages_and_memory_are_read_too_each_once(rows: SessionRows) -> None:
    turns = Turns(rows, ExtractiveModel())
    earlier, _ = await rows.turn(f"My locker number is {MARKER}.", "I found no sentence about this.")
    memory = MemoryActivities(memory=PostgresMemory(rows.pool), blobs=rows.blobs, effects=EFFECTS)
    kept = await rows.blobs.put(rows.tenant, b"My locker number is old.")
    noted = RememberCall(actor=rows.actor, session_id=rows.session, turn_id=earlier, message=kept, reply=kept)
    await environment().run(memory.remember, noted)
    elsewhere = noted.model_copy(update={"session_id": "ses_" + "9" * 32, "turn_id": "trn_" + "8" * 32})
    garage = await rows.blobs.put(rows.tenant, b"The locker stands in the garage.")
    await environment().run(memory.remember, elsewhere.model_copy(update={"message": garage, "reply": garage}))
    call = await turns.call("What about my locker?")
    recall = RecallCall(actor=rows.actor, session_id=rows.session, turn_id=call.turn_id, message=call.message)
    found = await environment().run(memory.recall, recall)
    assert found.recollection is not None
    answer = await turns.run(call.model_copy(update={"recalled": found.recollection}))
    text = await turns.reply(answer)
    assert f"My locker number is {MARKER}." in text
    assert "The locker stands in the garage." in text
    assert "old" not in text
    assert {citation.source for citation in answer.citations} == {earlier, f"ses_{'9' * 32}/trn_{'8' * 32}"}


async def test_a_deleted_document_is_left_out(rows: SessionRows) -> None:
    turns = Turns(rows, ExtractiveModel())
    tea = await turns.document(TEA)
    await turns.documents.delete(rows.tenant, tea)
    assert await turns.reply(await turns.run(await turns.call("How long does tea steep?", tea))) == NOTHING_TO_READ


async def test_a_repeated_attempt_finds_the_answer_and_asks_nobody(
    rows: SessionRows, vendor: FakeOpenAI, remote: OpenAICompatibleModel
) -> None:
    turns = Turns(rows, remote)
    vendor.version = "-2026-11-01"
    call = await turns.call("two words")
    first = await turns.run(call)
    assert await turns.run(call, 2) == first
    assert len(vendor.calls) == 1
    assert (first.model, first.provider, first.fallback) == ("fake-model-2026-11-01", "openai_compatible", False)


async def test_a_failed_attempt_is_recorded_and_retried_under_the_same_key(
    rows: SessionRows, vendor: FakeOpenAI, remote: OpenAICompatibleModel
) -> None:
    turns = Turns(rows, remote)
    call = await turns.call(f"about {MARKER}")
    vendor.modes.extend(["rate_limited", "truncated"])
    expected = ((1, "model-rate-limited", timedelta(seconds=1)), (2, "model-stream-broken", None))
    for attempt, kind, pause in expected:
        with pytest.raises(ApplicationError) as caught:
            await turns.run(call, attempt)
        assert (caught.value.type, caught.value.non_retryable) == (kind, False)
        assert caught.value.next_retry_delay == pause
        assert MARKER not in str(caught.value)
    await turns.run(call, 3)
    assert vendor.by_key == {f"session/t/s/turn/{call.turn_id}/complete": 3}
    assert await turns.outcomes() == [(1, "failed"), (2, "failed"), (3, "completed")]


@pytest.mark.parametrize(("mode", "kind"), [("unauthorized", "model-key-refused"), ("filtered", "model-content-filtered")])
async def test_a_refusal_is_final(
    rows: SessionRows, vendor: FakeOpenAI, remote: OpenAICompatibleModel, mode: str, kind: str
) -> None:
    turns = Turns(rows, remote)
    vendor.mode = mode
    with pytest.raises(ApplicationError) as caught:
        await turns.run(await turns.call("x"))
    assert (caught.value.type, caught.value.non_retryable) == (kind, True)
    assert [data["error_type"] for data in await rows.events("slm.metrics")] == [kind]


async def test_a_cancelled_call_beats_until_then_and_is_recorded(
    rows: SessionRows, vendor: FakeOpenAI, remote: OpenAICompatibleModel
) -> None:
    turns, env, beaten = Turns(rows, remote), environment(), asyncio.Event()
    env.on_heartbeat = lambda *_: beaten.set()
    with vendor.held():
        running = asyncio.create_task(turns.run(await turns.call("x"), env=env))
        await vendor.arrived()
        async with asyncio.timeout(10):
            await beaten.wait()
        env.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert await turns.outcomes() == [(1, "cancelled")]


class _Broken:
    name = vendor = "broken"
    external = True

    async def complete(self, model: str, request: CompletionRequest) -> Completion:
        raise ValueError(f"{model}: {request.messages[-1].content}")


async def test_the_words_of_an_unexpected_error_reach_no_history(rows: SessionRows) -> None:
    turns = Turns(rows, _Broken())
    with pytest.raises(ApplicationError) as caught:
        await turns.run(await turns.call(MARKER))
    assert MARKER not in str(caught.value)
    assert caught.value.__cause__ is None
    assert "ValueError" in str(caught.value)
    assert "test_turn_activities.py" in str(caught.value)
    assert (caught.value.type, caught.value.non_retryable) == ("internal-error", False)
    assert [data["error_type"] for data in await rows.events("slm.metrics")] == ["internal-error"]


async def test_an_answer_that_came_while_the_store_was_away_is_kept(
    rows: SessionRows, vendor: FakeOpenAI, remote: OpenAICompatibleModel, stack: EmbeddedStack
) -> None:
    turns = Turns(rows, remote)
    postgres = stack.part("postgres")
    with vendor.held():
        running = asyncio.create_task(turns.run(await turns.call("two words")))
        await vendor.arrived()
        await asyncio.to_thread(postgres.kill9)
    try:
        await asyncio.sleep(0.5)
        assert not running.done()
        assert vendor.calls[0].finished
    finally:
        await asyncio.to_thread(postgres.start)
    answer = await running
    assert (await turns.reply(answer)).startswith("You asked: two words")
    assert len(vendor.calls) == 1
    assert await turns.outcomes() == [(1, "completed")]


@pytest.mark.parametrize(("looks", "attempts"), [(0, []), (1, [(1, "failed")]), (2, [(1, "failed")])])
async def test_a_switch_engaged_at_any_moment_before_the_first_byte_stops_the_call(
    rows: SessionRows, vendor: FakeOpenAI, remote: OpenAICompatibleModel, looks: int, attempts: list[tuple[int, str]]
) -> None:
    turns = Turns(rows, remote, Effects(StoppedAfter(looks), "local"))
    with pytest.raises(ApplicationError) as caught:
        await turns.run(await turns.call("Hello"))
    assert (caught.value.type, caught.value.non_retryable) == ("kill-switch-engaged", True)
    assert vendor.calls == []
    assert await turns.outcomes() == attempts
    assert await turns.held() == ["released"] * len(attempts)


async def test_a_call_says_when_it_was_sent(rows: SessionRows, vendor: FakeOpenAI, remote: OpenAICompatibleModel) -> None:
    turns = Turns(rows, remote)
    await turns.run(await turns.call("Hello"))
    async with tenant_transaction(rows.pool, rows.tenant) as connection:
        row = await connection.fetchrow("SELECT sent_ms, latency_ms, region FROM slm_calls")
    assert row is not None
    assert 0 <= row["sent_ms"] <= row["latency_ms"] + 1000
    assert row["region"] == "local"
    assert len(vendor.calls) == 1


async def test_memory_that_is_down_fails_to_be_retried(rows: SessionRows) -> None:
    async with FakeSomaBrain("unreachable") as brain:
        memory = SomaBrainMemory(brain.base, brain.token)
        activities = MemoryActivities(memory=memory, blobs=rows.blobs, effects=EFFECTS)
        turn, message = await rows.turn(MARKER)
        call = RecallCall(actor=rows.actor, session_id=rows.session, turn_id=turn, message=message)
        with pytest.raises(ApplicationError) as caught:
            await environment().run(activities.recall, call)
        await memory.close()
    assert (caught.value.type, caught.value.non_retryable) == ("memory-unavailable", False)
    assert MARKER not in str(caught.value)


async def test_nothing_recalled_is_no_blob(rows: SessionRows) -> None:
    activities = MemoryActivities(memory=PostgresMemory(rows.pool), blobs=rows.blobs, effects=EFFECTS)
    turn, message = await rows.turn("anything")
    call = RecallCall(actor=rows.actor, session_id=rows.session, turn_id=turn, message=message)
    assert (await environment().run(activities.recall, call)).recollection is None


async def test_a_document_is_read_added_once_and_deleted(rows: SessionRows) -> None:
    documents = PostgresDocuments(rows.pool)
    activities = DocumentActivities(extractor=PlainTextExtractor(), blobs=rows.blobs, documents=documents)
    upload = await rows.upload(b"<title>Tea</title><p>Steep it.", "text/html")
    await environment().run(activities.add, upload)
    view = await documents.get(rows.tenant, upload.document_id)
    assert (view.characters, view.bytes, view.media_type) == (14, 30, "text/html")
    await environment(2).run(activities.add, upload)
    assert await documents.get(rows.tenant, upload.document_id) == view
    assert (await documents.text(rows.tenant, upload.document_id)).text == "Tea\n\nSteep it."
    deletion = DocumentDeletion(document_id=upload.document_id, actor=rows.actor)
    await environment().run(activities.delete, deletion)
    with pytest.raises(ApplicationError) as caught:
        await environment().run(activities.delete, deletion.model_copy(update={"document_id": "doc_" + "0" * 32}))
    assert (caught.value.type, caught.value.non_retryable) == ("not-found", True)
    # The text went with the document although the attempt was repeated.
    with pytest.raises(ApplicationError):
        await environment().run(activities.add, upload)


async def test_bytes_that_are_no_text_fail_for_good(rows: SessionRows) -> None:
    activities = DocumentActivities(extractor=PlainTextExtractor(), blobs=rows.blobs, documents=PostgresDocuments(rows.pool))
    with pytest.raises(ApplicationError) as caught:
        await environment().run(activities.add, await rows.upload(b"\xff\xfe\x00"))
    assert (caught.value.type, caught.value.non_retryable) == ("unprocessable", True)
