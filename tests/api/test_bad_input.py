"""What comes in bad, or meets a third party that is: a documented answer that says what to do, and nothing half-written.

On servers of its own, whose model and memory are fakes that fail.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from fakes.openai_server import FakeOpenAI, Mode
from fakes.somabrain_server import FakeSomaBrain
from fakes.somabrain_server import Mode as BrainMode
from live import PUBLIC_URL, Caller, Live, live, until
from nothing_written import assert_problem, rows

from adapters.postgres.connection import tenant_transaction
from adapters.tokens import JoseTokens
from domain.names import Scope
from workers.embedded.stack import EmbeddedStack

UNKNOWN = {"session": "ses_" + "0" * 32, "document": "doc_" + "0" * 32}


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    with EmbeddedStack(tmp_path_factory.mktemp("bad") / "home", durable=False, tied=True, time_skipping=True) as stack:
        yield stack


@pytest.fixture(scope="module")
async def model() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI() as fake:
        yield fake


@pytest.fixture(scope="module")
async def brain() -> AsyncIterator[FakeSomaBrain]:
    async with FakeSomaBrain() as fake:
        yield fake


@pytest.fixture(scope="module")
async def product(own_stack: EmbeddedStack, model: FakeOpenAI, brain: FakeSomaBrain) -> AsyncIterator[Live]:
    async with live(
        own_stack,
        model_base_url=model.url,
        model_name="fake-model",
        model_timeout_seconds=1,
        somabrain_url=brain.base,
        somabrain_token=brain.token,
    ) as running:
        yield running


BODIES: dict[str, tuple[bytes, int, str]] = {
    "unknown field": (b'{"prompt": "hello", "propmt": "hello"}', 400, "invalid-request"),
    "wrong type": (b'{"prompt": 7}', 400, "invalid-request"),
    "wrong type of a list": (b'{"documents": "doc_1"}', 400, "invalid-request"),
    "10 MB": (b'{"prompt": "' + b"a" * 10_000_000 + b'"}', 413, "too-large"),
    "broken JSON": (b'{"prompt": "hello"', 400, "invalid-request"),
    "no JSON": (b"\xff\xfe\x00", 400, "invalid-request"),
    "control character": (b'{"prompt": "hel\\u0007lo"}', 400, "invalid-request"),
    "half a surrogate pair": (b'{"prompt": "hel\\ud800lo"}', 400, "invalid-request"),
    "control character in metadata": (b'{"metadata": {"a": "\\u0000"}}', 400, "invalid-request"),
    "unknown document": (b'{"prompt": "hello", "documents": ["%s"]}' % UNKNOWN["document"].encode(), 422, "unprocessable"),
    "no document id": (b'{"documents": ["../etc/passwd"]}', 400, "invalid-request"),
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_bad_start_is_told_and_leaves_nothing(product: Live, caller: Caller, name: str) -> None:
    body, status, kind = BODIES[name]
    before = await rows(product, caller.tenant)
    headers = caller.headers | {"Idempotency-Key": str(uuid.uuid4()), "Content-Type": "application/json"}
    assert_problem(await caller.http.post("/v1/sessions/start", content=body, headers=headers), status, kind)
    assert await rows(product, caller.tenant) == before


@pytest.mark.parametrize("content", [b'{"content": 1}', b'{"content": ""}', b'{"text": "x"}', b'{"content": "\\udfff"}', b"["])
async def test_a_bad_message_is_told_and_queues_nothing(product: Live, caller: Caller, content: bytes) -> None:
    session = (await caller.start()).json()["session_id"]
    before = await rows(product, caller.tenant)
    headers = caller.headers | {"Idempotency-Key": str(uuid.uuid4()), "Content-Type": "application/json"}
    answer = await caller.http.post(f"/v1/sessions/{session}/messages", content=content, headers=headers)
    assert_problem(answer, 400, "invalid-request")
    assert await rows(product, caller.tenant) == before


async def test_a_document_that_is_not_what_it_claims_is_refused(product: Live, caller: Caller) -> None:
    before = await rows(product, caller.tenant)
    for media_type in ("application/pdf", "text/html; charset=x"):
        body = {"name": "a.pdf", "media_type": media_type, "content": "%PDF-1.7"}
        assert_problem(await caller.post("/v1/documents", body), 400, "invalid-request")
    assert_problem(await caller.post("/v1/documents", {"name": "a", "content": "PK\x03\x04"}), 400, "invalid-request")
    assert_problem(await caller.post("/v1/documents", {"name": "big", "content": "a" * (5 * 1024 * 1024 + 1)}), 413, "too-large")
    assert await rows(product, caller.tenant) == before


async def test_an_unknown_or_closed_session_takes_nothing(product: Live, caller: Caller) -> None:
    for path in ("", "/events", "/turns/trn_" + "0" * 32):
        assert_problem(await caller.get(f"/v1/sessions/{UNKNOWN['session']}{path}"), 404, "not-found")
    for path, body in (("messages", {"content": "hello"}), ("cancel", {}), ("close", {})):
        assert_problem(await caller.post(f"/v1/sessions/{UNKNOWN['session']}/{path}", body), 404, "not-found")
    session = (await caller.start()).json()["session_id"]
    assert (await caller.post(f"/v1/sessions/{session}/close")).json()["status"] == "closed"
    before = await rows(product, caller.tenant)
    assert_problem(await caller.send(session, "hello"), 409, "session-closed")
    assert_problem(await caller.post(f"/v1/sessions/{session}/cancel"), 409, "session-closed")
    after = await rows(product, caller.tenant)
    assert after | {"blobs": 0} == before | {"blobs": 0}


async def test_without_a_token_that_holds_a_session_is_neither_started_nor_read(product: Live, caller: Caller) -> None:
    session = (await caller.start()).json()["session_id"]
    before = await rows(product, caller.tenant)
    good = caller.headers["Authorization"]
    head, claims, signature = good.split(".")
    flipped = ("A" if claims[10] != "A" else "B").join((claims[:10], claims[11:]))
    mint: dict[str, Any] = {
        "tenant_id": caller.tenant,
        "subject": "x",
        "client_id": caller.client.client_id,
        "scopes": tuple(Scope),
    }
    assert product.settings.signing_key_file is not None
    keys = json.loads(product.settings.signing_key_file.read_bytes())
    ours: dict[str, Any] = {"issuer": PUBLIC_URL, "audience": "somagent", "lifetime_seconds": 900}
    expired, _ = JoseTokens(keys, **ours, clock=lambda: 1_000_000_000.0).mint(**mint, constitution_hash=None)
    elsewhere, _ = JoseTokens(keys, **(ours | {"audience": "elsewhere"})).mint(**mint, constitution_hash=None)
    none = "Bearer eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0." + claims + "."
    for sent in (None, f"{head}.{flipped}.{signature}", f"Bearer {expired}", f"Bearer {elsewhere}", none):
        headers = {"Authorization": sent} if sent else {}
        key = {"Idempotency-Key": str(uuid.uuid4())}
        answers = [
            await caller.http.post("/v1/sessions/start", json={"prompt": "hello"}, headers=headers | key),
            await caller.http.post(f"/v1/sessions/{session}/messages", json={"content": "hello"}, headers=headers | key),
            await caller.http.get(f"/v1/sessions/{session}", headers=headers),
        ]
        for answer in answers:
            assert_problem(answer, 401, "unauthenticated")
            assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    async with product.caller(Scope.SESSION_READ, tenant=caller.tenant) as reader:
        assert_problem(await reader.start("hello"), 403, "insufficient-scope")
        assert_problem(await reader.send(session, "hello"), 403, "insufficient-scope")
    assert await rows(product, caller.tenant) == before


async def test_the_same_key_at_once_starts_one_session_and_no_other_body(caller: Caller) -> None:
    key = str(uuid.uuid4())
    answers = await asyncio.gather(*(caller.start("hello there", key=key) for _ in range(8)))
    started = [answer for answer in answers if answer.status_code == 201]
    assert started
    for answer in answers:
        if answer.status_code != 201:
            assert_problem(answer, 409, "request-in-progress")
            assert int(answer.headers["Retry-After"]) >= 1
    again = await caller.start("hello there", key=key)
    assert {answer.json()["session_id"] for answer in (*started, again)} == {again.json()["session_id"]}
    assert_problem(await caller.start("hello elsewhere", key=key), 422, "idempotency-key-reused")
    assert len((await caller.get("/v1/sessions")).json()["sessions"]) == 1
    assert len((await caller.transcript(again.json()["session_id"]))["turns"]) == 1


async def outcomes(product: Live, tenant: str) -> list[str]:
    """How the attempts at model calls ended, in order."""
    async with tenant_transaction(product.pool, tenant) as connection:
        found = await connection.fetch("SELECT outcome FROM slm_calls ORDER BY attempt")
    return [row["outcome"] for row in found]


@pytest.mark.parametrize("mode", ["error", "unavailable", "rate_limited", "truncated", "slow", "broken_json"])
async def test_a_model_that_fails_once_is_asked_again(product: Live, caller: Caller, model: FakeOpenAI, mode: Mode) -> None:
    session = (await caller.start()).json()["session_id"]
    model.latency = 5
    model.modes.append(mode)
    calls = len(model.calls)

    answer = await caller.send(session, "What is tea?", wait=40)

    turn = answer.json()["turn"]
    assert (answer.status_code, turn["status"], turn["error"]) == (200, "completed", None), answer.text
    assert len({call.idempotency_key for call in model.calls[calls:]}) == 1
    assert await outcomes(product, caller.tenant) == ["failed", "completed"]
    assert [kept["reply"] for kept in (await caller.transcript(session))["turns"]] == [turn["reply"]]


@pytest.mark.parametrize(("mode", "kind"), [("unauthorized", "model-key-refused"), ("quota", "model-key-refused")])
async def test_a_model_that_refuses_fails_the_turn_and_not_the_session(
    caller: Caller, model: FakeOpenAI, mode: Mode, kind: str
) -> None:
    session = (await caller.start()).json()["session_id"]
    model.modes.append(mode)
    turn = (await caller.send(session, "What is tea?")).json()["turn"]
    assert (turn["status"], turn["error"]["type"], turn["reply"]) == ("failed", kind, None)
    assert len(turn["error"]["detail"].split()) > 4
    assert (await caller.send(session, "And coffee?")).json()["turn"]["status"] == "completed"
    assert [kept["status"] for kept in (await caller.transcript(session))["turns"]] == ["failed", "completed"]


async def test_a_model_that_is_down_fails_the_turn_once_its_retries_are_used_up(caller: Caller, model: FakeOpenAI) -> None:
    session = (await caller.start()).json()["session_id"]
    await asyncio.to_thread(model.stop)
    try:
        turn = (await caller.send(session, "What is tea?", wait=50)).json()["turn"]
        assert (turn["status"], turn["error"]["type"]) == ("failed", "model-overloaded")
    finally:
        await asyncio.to_thread(model.start)
    assert (await caller.send(session, "And now?")).json()["turn"]["status"] == "completed"


@pytest.mark.parametrize("mode", ["nonsense", "down"])
async def test_without_memory_a_turn_is_answered_and_says_so(caller: Caller, brain: FakeSomaBrain, mode: BrainMode) -> None:
    session = (await caller.start()).json()["session_id"]
    if mode == "down":
        await asyncio.to_thread(brain.stop)
    else:
        brain.mode = mode
    try:
        answer = await caller.send(session, "What is tea?", wait=50)
    finally:
        brain.mode = "ok"
        if mode == "down":
            await asyncio.to_thread(brain.start)
    turn = answer.json()["turn"]
    assert turn["status"] == "completed", answer.text
    assert turn["warnings"] == ["memory-not-recalled", "memory-not-remembered"]
    if mode != "down":
        return

    async def remembers() -> bool:
        # What failed repeatedly is left alone for some seconds.
        return not (await caller.send(session, "And coffee?")).json()["turn"]["warnings"]

    await until(remembers, 40, every=2)


@pytest.mark.parametrize("path", ["/v1/documents", "/v1/sessions", "/v1/decisions"])
@pytest.mark.parametrize("cursor", ["%00", "ses_%00", "%F0%9F%92%A9", "-1", "ses_" + "g" * 32, "x" * 100])
async def test_a_cursor_that_no_page_gave_is_refused(caller: Caller, path: str, cursor: str) -> None:
    assert_problem(await caller.get(f"{path}?after={cursor}"), 400, "invalid-request")
