"""Policies asked over HTTP without effect: AuthZEN's shape, what decided, and what others would have decided."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from live import Caller, Live
from nothing_written import assert_problem, rows
from test_policy_sets import FORBID, PERMIT, WITHIN_SECONDS, activate, make

from domain.names import Scope

ALICE = {"type": "user", "id": "alice"}
SESSION = {"type": "session", "id": "ses_0192f0c0d5a07c3e8f6f0e1b2c3d4e5f"}


def question(**changes: Any) -> dict[str, Any]:
    return {"subject": ALICE, "action": {"name": "session:start"}, "resource": SESSION} | changes


async def ask(caller: Caller, **changes: Any) -> dict[str, Any]:
    answer = await caller.post("/v1/policy/evaluate", question(**changes))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_what_the_constitution_answers_and_why(product: Live, caller: Caller) -> None:
    before = await rows(product, caller.tenant)
    said = await ask(caller)
    constitution = await product.services.constitution.current()
    assert said["decision"] is True
    assert said["context"] == {
        "verdict": "allow",
        "reasons": [],
        "transform": None,
        "layers": [{"layer": "constitution", "verdict": "allow", "policies": ["start-own-session"]}],
        "policy_digest": constitution.policy_digest,
        "tenant_policy_digest": None,
        "constitution_hash": constitution.hash,
        "score": 0,
        "what_if": None,
    }
    assert await rows(product, caller.tenant) == before


@pytest.mark.parametrize(
    ("changes", "decision", "verdict", "codes"),
    [
        ({"context": {"persona": "jailbroken"}}, False, "deny", ["persona-without-limits"]),
        ({"context": {"score": 600}}, False, "escalate", ["much-is-asked-for", "very-much-needs-approval"]),
        ({"context": {"score": 300}}, True, "warn", ["much-is-asked-for"]),
        ({"context": {"categories": ["secret"]}}, True, "transform", ["secrets-are-taken-out"]),
        ({"context": {"text_bytes": 200_000, "documents": 40}}, True, "warn", ["much-is-asked-for"]),
        ({"subject": ALICE | {"properties": {"scopes": ["slm:call"]}}}, False, "deny", ["no-policy-permits"]),
        ({"resource": {"type": "session", "id": "session/other/ses_1"}}, False, "deny", ["no-policy-permits"]),
        (
            {"action": {"name": "model:call"}, "resource": {"type": "model", "id": "nonsense"}},
            False,
            "deny",
            ["unknown-model-role"],
        ),
        ({"action": {"name": "memory:recall"}, "resource": {"type": "memory", "id": "ses_1"}}, True, "allow", []),
    ],
)
async def test_each_verdict(caller: Caller, changes: dict[str, Any], decision: bool, verdict: str, codes: list[str]) -> None:
    said = await ask(caller, **changes)
    assert (said["decision"], said["context"]["verdict"]) == (decision, verdict)
    assert [reason["code"] for reason in said["context"]["reasons"]] == codes


async def test_the_tenants_layer_and_candidates_beside_it(caller: Caller) -> None:
    made = await make(caller, PERMIT + FORBID)
    await activate(caller, made, 0)
    await asyncio.sleep(WITHIN_SECONDS)
    said = await ask(caller, what_if={"tenant": PERMIT})
    assert (said["decision"], said["context"]["tenant_policy_digest"]) == (False, made["digest"])
    assert said["context"]["layers"][1] == {"layer": "tenant", "verdict": "deny", "policies": ["closed"]}
    beside = said["context"]["what_if"]
    assert (beside["decision"], beside["context"]["verdict"]) == (True, "allow")
    assert beside["context"]["policy_digest"] == said["context"]["policy_digest"]
    assert beside["context"]["tenant_policy_digest"] not in (None, made["digest"])
    said = await ask(caller, what_if={"constitution": FORBID})
    assert [layer["verdict"] for layer in said["context"]["what_if"]["context"]["layers"]] == ["deny", "deny"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        question(subject={"type": "user"}),
        question(subject={"type": "robot", "id": "x"}),
        question(action={"name": "session:end"}),
        question(resource={"type": "model", "id": "embeddings"}),
        question(context={"turn": -1}),
        question(context={"score": 1001}),
        question(context={"score": False}),
        question(context={"turn": "7"}),
        question(context={"mood": "good"}),
        question(subject=ALICE | {"properties": {"tenant_id": "other"}}),
        question(action={"name": "model:call"}, resource={"type": "model", "id": "asr"}, context={"model_role": "tts"}),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(caller: Caller, body: dict[str, Any]) -> None:
    assert_problem(await caller.post("/v1/policy/evaluate", body), 400, "invalid-request")


async def test_candidates_that_cannot_be_used_are_refused(caller: Caller) -> None:
    answer = await caller.post("/v1/policy/evaluate", question(what_if={"tenant": PERMIT + "permit("}))
    assert_problem(answer, 422, "policy-invalid")
    assert (answer.json()["faults"][0]["line"], "policies for the tenant" in answer.json()["detail"]) == (2, True)


async def test_it_takes_policy_read(product: Live) -> None:
    async with product.caller(Scope.POLICY_WRITE) as writer:
        assert (await writer.post("/v1/policy/evaluate", question())).status_code == 403
    async with product.caller(Scope.POLICY_READ) as reader:
        said = await ask(reader, subject=ALICE | {"properties": {"scopes": ["session:start"], "client_id": "cli_x"}})
        assert said["decision"] is True
