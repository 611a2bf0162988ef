"""A session's turns: in order, once each, queued to a bound, stopped when asked, carried across continue-as-new."""

from __future__ import annotations

import asyncio
import time
import uuid

from fakes.openai_server import FakeOpenAI
from live import Caller, Live, until

from adapters.postgres.connection import tenant_transaction


async def open_session(caller: Caller, **body: object) -> str:
    answer = await caller.start(**body)
    assert answer.status_code == 201, answer.text
    return answer.json()["session_id"]


async def test_a_session_answers_its_first_prompt(caller: Caller) -> None:
    answer = await caller.start("What is the capital of France?")

    assert answer.status_code == 201, answer.text
    started = answer.json()
    assert started["status"] == "open"
    assert started["turn_status"] == "completed"
    assert started["reply"]
    assert started["model"].startswith("fake-model")
    assert started["decision"]["verdict"] == "allow"
    transcript = await caller.transcript(started["session_id"])
    assert [turn["content"] for turn in transcript["turns"]] == ["What is the capital of France?"]


async def test_turns_are_answered_in_the_order_they_were_sent(caller: Caller) -> None:
    session = await open_session(caller)
    sent = [f"question number {number}" for number in range(11)]

    answers = await asyncio.gather(*(caller.send(session, text, wait=0) for text in sent))

    assert {answer.status_code for answer in answers} <= {200, 202}
    by_turn = {answer.json()["turn"]["turn_id"]: answer.json()["turn"]["content"] for answer in answers}
    assert sorted(by_turn.values()) == sorted(sent)

    async def all_done() -> list[dict[str, object]] | None:
        turns = (await caller.transcript(session))["turns"]
        return turns if len(turns) == 11 and all(turn["status"] == "completed" for turn in turns) else None

    turns = await until(all_done, 60)
    assert [turn["seq"] for turn in turns] == list(range(1, 12))
    ended = [turn["completed_at"] for turn in turns]
    assert ended == sorted(ended)


async def test_beyond_32_queued_turns_a_message_is_refused_and_nothing_changes(caller: Caller, model: FakeOpenAI) -> None:
    session = await open_session(caller)
    with model.held():
        running = await caller.send(session, "the first one runs", wait=0)
        await until(lambda: is_running(caller, session, running.json()["turn"]["turn_id"]))
        answers = await asyncio.gather(*(caller.send(session, f"queued {number}", wait=0) for number in range(33)))
        codes = sorted(answer.status_code for answer in answers)
        assert codes == [202] * 32 + [429]
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.json()["type"].endswith("/problems/too-many-turns")
        assert int(refused.headers["Retry-After"]) >= 1
        assert (await caller.transcript(session))["session"]["turns"] == 33

    async def drained() -> bool:
        turns = (await caller.transcript(session))["turns"]
        return all(turn["status"] == "completed" for turn in turns)

    await until(drained, 90)


async def is_running(caller: Caller, session: str, turn: str) -> bool:
    answer = await caller.get(f"/v1/sessions/{session}/turns/{turn}")
    return answer.json()["status"] == "running"


async def test_cancel_stops_the_running_turn_within_two_seconds_and_the_next_is_answered(
    caller: Caller, model: FakeOpenAI
) -> None:
    session = await open_session(caller)
    with model.held():
        first = (await caller.send(session, "this will be stopped", wait=0)).json()["turn"]["turn_id"]
        await until(lambda: is_running(caller, session, first))
        began = time.monotonic()
        answer = await caller.post(f"/v1/sessions/{session}/cancel")
        assert time.monotonic() - began < 2
        assert answer.status_code == 200, answer.text
        assert answer.json()["turn"]["turn_id"] == first
        assert answer.json()["turn"]["status"] == "cancelled"

    after = await caller.send(session, "and this is answered")
    assert after.json()["turn"]["status"] == "completed", after.text
    nothing = await caller.post(f"/v1/sessions/{session}/cancel")
    assert nothing.json() == {"turn": None}


async def test_a_repeated_key_gives_one_turn_before_and_after_continue_as_new(caller: Caller, product: Live) -> None:
    session = await open_session(caller)
    key = str(uuid.uuid4())
    first = await caller.send(session, "only once, please", key=key)
    assert first.status_code == 200

    run = product.temporal.get_workflow_handle(product.run_of(session, caller.tenant))
    before = (await run.describe()).run_id

    async def continued() -> bool:
        await caller.send(session, f"filler {uuid.uuid4()}")
        return (await run.describe()).run_id != before

    await until(continued, 60)
    async with tenant_transaction(product.pool, caller.tenant) as connection:
        # The gateway's own record of the key is gone, as after a day.
        await connection.execute("DELETE FROM idempotency_keys WHERE tenant_id = $1", caller.tenant)
    again = await caller.send(session, "only once, please", key=key)

    assert again.json()["turn"]["turn_id"] == first.json()["turn"]["turn_id"]
    contents = [turn["content"] for turn in (await caller.transcript(session))["turns"]]
    assert contents.count("only once, please") == 1


async def test_the_same_key_with_another_message_is_refused(caller: Caller) -> None:
    session = await open_session(caller)
    key = str(uuid.uuid4())
    await caller.send(session, "one thing", key=key)

    other = await caller.send(session, "another thing", key=key)

    assert other.status_code == 422
    assert other.json()["type"].endswith("/problems/idempotency-key-reused")


async def test_a_closed_session_takes_no_message_and_answers_those_it_took(caller: Caller, model: FakeOpenAI) -> None:
    session = await open_session(caller)
    with model.held():
        taken = [(await caller.send(session, f"taken {number}", wait=0)).json()["turn"]["turn_id"] for number in range(3)]
        closed = await caller.post(f"/v1/sessions/{session}/close")
        assert closed.status_code == 200
        assert closed.json()["status"] == "closed"
        late = await caller.send(session, "too late", wait=0)
        assert late.status_code == 409
        assert late.json()["type"].endswith("/problems/session-closed")

    async def answered() -> bool:
        turns = (await caller.transcript(session))["turns"]
        return [turn["turn_id"] for turn in turns if turn["status"] == "completed"] == taken

    await until(answered, 30)
    assert (await caller.post(f"/v1/sessions/{session}/close")).status_code == 200
    after_the_run = await caller.send(session, "much too late", wait=0)
    assert after_the_run.status_code == 409


async def test_a_cancelled_run_records_its_end(caller: Caller, product: Live, model: FakeOpenAI) -> None:
    session = await open_session(caller)
    with model.held():
        turn = (await caller.send(session, "in flight", wait=0)).json()["turn"]["turn_id"]
        await until(lambda: is_running(caller, session, turn))
        await product.temporal.get_workflow_handle(product.run_of(session, caller.tenant)).cancel()

        async def ended() -> bool:
            view = await caller.transcript(session)
            return view["session"]["status"] == "closed" and view["turns"][0]["status"] == "cancelled"

        await until(ended, 20)


async def test_no_text_stands_in_the_history(caller: Caller, product: Live) -> None:
    marker = f"marker{uuid.uuid4().hex}"
    document = await caller.document(f"The {marker} is kept in the cellar.")
    answer = await caller.start(f"Where is the {marker} kept?", documents=[document])
    session = answer.json()["session_id"]
    assert answer.json()["turn_status"] == "completed"

    run = product.temporal.get_workflow_handle(product.run_of(session, caller.tenant))
    codec = product.temporal.data_converter.payload_codec
    events = 0
    async for event in run.fetch_history_events():
        events += 1
        assert marker.encode() not in event.SerializeToString()
        for payload in payloads_of(event):
            (clear,) = await codec.decode([payload])
            assert marker.encode() not in clear.data
    assert events > 10


def payloads_of(message: object) -> list[object]:
    """Every payload within a protobuf message."""
    from google.protobuf.message import Message
    from temporalio.api.common.v1 import Payload

    found: list[object] = []

    def walk(value: object) -> None:
        if isinstance(value, Payload):
            found.append(value)
        elif isinstance(value, Message):
            for _, inner in value.ListFields():
                walk(inner)
        elif hasattr(value, "values") and hasattr(value, "items"):
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list | tuple) or (hasattr(value, "__iter__") and not isinstance(value, str | bytes)):
            for inner in value:
                walk(inner)

    walk(message)
    return found
