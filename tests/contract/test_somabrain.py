"""SomaBrain over a socket, with its real oddities: keys, degraded writes, headers, ranking, and the class of each failure."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import httpx2
import pytest
from fakes.somabrain_server import FakeSomaBrain, Mode

from adapters.somabrain import FOREIGN_RESULT, QUEUED_FOR_REPLAY, SomaBrainMemory
from domain.errors import DomainError, MemoryUnavailable, UpstreamFailed
from domain.memory import MemoryItem, Recalled, Remembered

SESSION = "ses_" + "1" * 32
MARKER = "zebra-7741"


@pytest.fixture
async def brain() -> AsyncIterator[FakeSomaBrain]:
    async with FakeSomaBrain() as fake:
        yield fake


@pytest.fixture
async def memory(brain: FakeSomaBrain) -> AsyncIterator[SomaBrainMemory]:
    memory = SomaBrainMemory(brain.base + "/", brain.token)
    yield memory
    await memory.close()


def item(key: str = "ses/trn", text: str = f"tea steeps {MARKER}") -> MemoryItem:
    return MemoryItem(key=key, text=text, session_id=SESSION)


async def test_what_is_remembered_is_recalled(brain: FakeSomaBrain, memory: SomaBrainMemory) -> None:
    assert await memory.remember("acme", item()) == Remembered(durable=True)
    assert await memory.remember("acme", item(text="tea steeps for two minutes")) == Remembered(durable=True)
    found = await memory.recall("acme", "how long tea steeps", SESSION, 5)
    assert found.items == (Recalled(key="ses/trn", text="tea steeps for two minutes", score=0.5),)
    assert found.degraded == ()
    assert len(brain.long_term) == 1


async def test_every_request_says_who_asks(brain: FakeSomaBrain, memory: SomaBrainMemory) -> None:
    await memory.remember("acme", item())
    await memory.recall("acme", "tea", SESSION, 3)
    remember, recall = brain.seen
    assert (remember.path, recall.path) == ("/api/memory/remember", "/api/memory/recall")
    for seen in (remember, recall):
        assert seen.headers["authorization"] == "Bearer brain-token"
        assert seen.headers["x-tenant-id"] == "acme"
        assert seen.headers["x-namespace"] == "somagent"
        assert seen.headers["x-actor"] == "somagent"
    assert remember.headers["x-request-id"] != recall.headers["x-request-id"]
    assert remember.body["key"] == "acme/somagent/ses/trn"
    assert remember.body["value"]["text"] == item().text
    assert (recall.body["layer"], recall.body["top_k"]) == ("ltm", 3)


async def test_the_fake_mixes_up_equal_keys_of_two_tenants_and_the_adapter_does_not(
    brain: FakeSomaBrain, memory: SomaBrainMemory
) -> None:
    async with httpx2.AsyncClient(base_url=brain.base, headers={"Authorization": f"Bearer {brain.token}"}) as http:
        for tenant in ("one", "two"):
            body = {"tenant": tenant, "namespace": "n", "key": "k", "value": {"text": tenant}}
            assert (await http.post("/memory/remember", json=body)).status_code == 200
        assert [stored.payload["tenant"] for stored in brain.long_term.values()] == ["two"]
        # The body's tenant is ignored: without the header recall is the default tenant's.
        answer = await http.post("/api/memory/recall", json={"query": "two", "tenant": "two", "namespace": "n", "layer": "ltm"})
        assert (answer.json()["tenant"], answer.json()["results"]) == ("standalone", [])
    await memory.remember("one", item(text="tea of one"))
    await memory.remember("two", item(text="tea of two"))
    for tenant in ("one", "two"):
        found = await memory.recall(tenant, "tea", SESSION, 5)
        assert [recalled.text for recalled in found.items] == [f"tea of {tenant}"]


async def test_a_result_of_another_tenant_is_dropped_and_said(brain: FakeSomaBrain, memory: SomaBrainMemory) -> None:
    await memory.remember("one", item(text="tea of one"))
    await memory.remember("two", item(text="tea of two"))
    brain.mode = "leak"
    found = await memory.recall("two", "tea", SESSION, 5)
    assert [recalled.text for recalled in found.items] == ["tea of two"]
    assert found.degraded == (FOREIGN_RESULT,)


async def test_results_of_odd_shapes_are_dropped(brain: FakeSomaBrain, memory: SomaBrainMemory) -> None:
    await memory.remember("acme", item(text="tea"))
    brain.mode = "odd"
    assert [recalled.text for recalled in (await memory.recall("acme", "tea", SESSION, 5)).items] == ["tea"]


async def test_working_memory_is_ranked_here(brain: FakeSomaBrain) -> None:
    memory = SomaBrainMemory(brain.base, brain.token, api_prefix="", layer="both")
    other = SomaBrainMemory(brain.base, brain.token, namespace="elsewhere")
    try:
        await memory.remember("acme", item("a", "dogs bark at night"))
        await memory.remember("acme", item("b", "green tea steeps"))
        await other.remember("acme", item("c", "green tea of another namespace"))
        brain.modes.append("circuit_open")
        await memory.remember("acme", item("d", "green lamps"))
        found = await memory.recall("acme", "green tea", SESSION, 5)
    finally:
        await memory.close()
        await other.close()
    assert [(recalled.key, recalled.score) for recalled in found.items] == [("b", 1.0), ("d", 0.5)]
    assert brain.seen[-1].path == "/memory/recall"


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("ok", Remembered(durable=True)),
        ("circuit_open", Remembered(durable=False, queued=True, warnings=(QUEUED_FOR_REPLAY,))),
        ("wm_failed", Remembered(durable=True, warnings=("working-memory-admit-failed",))),
    ],
)
async def test_a_degraded_write_is_read_from_its_fields(
    brain: FakeSomaBrain, memory: SomaBrainMemory, mode: Mode, expected: Remembered
) -> None:
    brain.mode = mode
    said = await memory.remember("acme", item())
    assert said == expected
    assert MARKER not in said.model_dump_json()


async def test_a_write_that_was_lost_is_unavailable(brain: FakeSomaBrain, memory: SomaBrainMemory) -> None:
    brain.modes.append("lost")
    with pytest.raises(MemoryUnavailable, match="neither stored nor queued"):
        await memory.remember("acme", item())
    assert await memory.remember("acme", item()) == Remembered(durable=True)
    assert [seen.body["key"] for seen in brain.seen] == ["acme/somagent/ses/trn"] * 2


async def test_a_degraded_recall_says_so_without_its_words(brain: FakeSomaBrain, memory: SomaBrainMemory) -> None:
    brain.mode = "circuit_open"
    assert (await memory.recall("acme", "tea", SESSION, 5)).degraded == ("ltm-unavailable",)


@pytest.mark.parametrize(
    ("mode", "error", "words"),
    [
        ("forbidden", UpstreamFailed, "SOMABRAIN_TOKEN"),
        ("unprocessable", UpstreamFailed, "422"),
        ("limited", MemoryUnavailable, "429"),
        ("error", MemoryUnavailable, "500"),
        ("bad_gateway", MemoryUnavailable, "502"),
        ("unreachable", MemoryUnavailable, "503"),
        ("timeout", MemoryUnavailable, "504"),
        ("nonsense", MemoryUnavailable, "no answer to the request"),
        ("html", MemoryUnavailable, "no answer to the request"),
        ("truncated", MemoryUnavailable, "broke off"),
    ],
)
async def test_each_failure_has_its_class(
    brain: FakeSomaBrain, memory: SomaBrainMemory, mode: Mode, error: type[DomainError], words: str
) -> None:
    brain.mode = mode
    with pytest.raises(error, match=words) as caught:
        await memory.remember("acme", item())
    with pytest.raises(error, match=words):
        await memory.recall("acme", MARKER, SESSION, 5)
    assert MARKER not in str(caught.value)
    assert len(brain.seen) == 2
    assert caught.value.retry_after == (2.0 if mode == "limited" else None)


async def test_a_wrong_token_is_named(brain: FakeSomaBrain) -> None:
    memory = SomaBrainMemory(brain.base, "wrong")
    with pytest.raises(UpstreamFailed, match="SOMABRAIN_TOKEN"):
        await memory.recall("acme", "tea", SESSION, 5)
    await memory.close()


async def test_an_answer_for_another_key_is_nonsense(brain: FakeSomaBrain, memory: SomaBrainMemory) -> None:
    brain.mode = "echo"
    with pytest.raises(MemoryUnavailable):
        await memory.remember("acme", item())


async def test_what_is_down_is_left_alone_for_a_while(brain: FakeSomaBrain, memory: SomaBrainMemory) -> None:
    brain.stop()
    for _ in range(3):
        with pytest.raises(MemoryUnavailable, match="SOMABRAIN_URL"):
            await memory.recall("acme", "tea", SESSION, 5)
    brain.start()
    started = time.monotonic()
    with pytest.raises(MemoryUnavailable, match="left alone") as caught:
        await memory.recall("acme", "tea", SESSION, 5)
    assert time.monotonic() - started < 0.5
    assert caught.value.retry_after is not None
    assert 0 < caught.value.retry_after <= 15
    assert brain.seen == []


def test_an_address_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="SOMABRAIN_URL"):
        SomaBrainMemory("localhost:30101", "t")
