"""A kill switch while a model call is in flight: the call is ended, what waited behind it is not asked, and both are told."""

from __future__ import annotations

import pytest
from fakes.openai_server import FakeOpenAI
from live import Caller, until

from adapters.signing import read_trusted_keys
from adapters.statements import verify_statement
from workers.embedded.stack import EmbeddedStack


@pytest.mark.parametrize(("scope", "value"), [("tenant", None), ("feature", "session")])
async def test_it_is_ended_and_stated_and_what_was_queued_is_not_asked(
    caller: Caller, model: FakeOpenAI, stack: EmbeddedStack, scope: str, value: str | None
) -> None:
    model.reset()
    with model.held():
        session_id = (await caller.post("/v1/sessions/start", {"prompt": "Hello?"}, Prefer="wait=0")).json()["session_id"]
        assert (await caller.send(session_id, "Are you there?", wait=0)).status_code == 202
        await model.arrived()
        made = await caller.post("/v1/kill-switches", {"scope": scope, "value": value, "reason": "test"})
        path = f"/v1/kill-switches/{made.json()['switch_id']}"

        async def stated() -> bool:
            return (await caller.get(path)).json()["stated_at"] is not None

        await until(stated, 40)
        calls = list(model.calls)
    turns = (await caller.transcript(session_id))["turns"]
    assert [turn["status"] for turn in turns] == ["cancelled", "cancelled"]
    statement = verify_statement((await caller.get(f"{path}/statement")).json(), read_trusted_keys(stack.keys.statement_trusted))
    (effect,) = statement.effects
    assert [call.idempotency_key for call in calls] == [effect.key]
    assert (effect.outcome, effect.owed) == ("cancelled", "unknown")
    assert effect.sent_at is not None
    assert (statement.effects_unknown, statement.effects_unrecorded) == (1, 0)
    # When it was sent is known to the time its reservation took, and counted as the end of that.
    assert statement.silence_ms < 200
    assert 0 < statement.stillness_ms < 10_000
