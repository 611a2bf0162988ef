"""Policy sets over HTTP, with workers on real servers: made, validated, in force within a second, and out of it again."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest
from live import Caller, Live
from nothing_written import assert_problem

from adapters.cedar.engine import CedarEngine
from adapters.postgres.connection import connect, tenant_transaction
from adapters.postgres.policy_sets import CurrentPolicySets, PostgresPolicySets
from domain.actors import Actor
from domain.errors import Unprocessable
from domain.names import Scope
from domain.policy_sets import PolicySetActivationInput
from runtime.ids import new_uuid
from workers.embedded.stack import EmbeddedStack

WITHIN_SECONDS = 1.1
PERMIT = '@id("all") permit(principal, action, resource);\n'
FORBID = '@id("closed") @reason("Closed today.") forbid(principal, action, resource);\n'
ASK = '@id("ask") @verdict("escalate") @reason("Ask first.") forbid(principal, action, resource);\n'


async def make(caller: Caller, text: str = PERMIT, name: str = "test", **body: Any) -> dict[str, Any]:
    answer = await caller.post("/v1/policy-sets", {"name": name} | (body or {"text": text}))
    assert answer.status_code == 201, answer.text
    return answer.json()


async def activate(caller: Caller, made: dict[str, Any], expected: int) -> dict[str, Any]:
    answer = await caller.post(f"/v1/policy-sets/{made['policy_set_id']}/activate", {"expected_version": expected})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def in_force(caller: Caller) -> list[int]:
    return [each["version"] for each in (await caller.get("/v1/policy-sets?active=true")).json()["policy_sets"]]


async def started(caller: Caller) -> tuple[int, list[str]]:
    """What a new session is answered, and the reasons."""
    answer = await caller.start()
    body = answer.json()
    decision = body.get("decision") or {}
    return answer.status_code, [reason["code"] for reason in body.get("reasons") or decision.get("reasons") or ()]


async def test_a_set_decides_from_its_activation_to_its_deactivation(caller: Caller) -> None:
    made = await make(caller, PERMIT + FORBID, name="Closed")
    assert (made["version"], made["name"], made["policies"], made["active"]) == (1, "Closed", 2, False)
    assert await started(caller) == (201, [])
    active = await activate(caller, made, 0)
    assert (active["active"], active["activated_by"], await in_force(caller)) == (True, caller.client.client_id, [1])
    await asyncio.sleep(WITHIN_SECONDS)
    assert await started(caller) == (403, ["closed"])
    decision = (await caller.get("/v1/decisions?limit=1")).json()["decisions"][0]["decision"]
    assert decision["tenant_policy_digest"] == made["digest"] != decision["policy_digest"]
    assert [(reason["checker"], reason["message"]) for reason in decision["reasons"]] == [("tenant-policy", "Closed today.")]
    out = await caller.post(f"/v1/policy-sets/{made['policy_set_id']}/deactivate")
    assert (out.status_code, out.json()["active"], await in_force(caller)) == (200, False, [])
    await asyncio.sleep(WITHIN_SECONDS)
    assert await started(caller) == (201, [])
    events = (await caller.get("/v1/events?topic=policy.decisions&limit=200")).json()["events"]
    told = [(event["type"], event["data"]["version"]) for event in events if ".policy_set." in event["type"]]
    assert told == [(f"somagent.policy_set.{verb}.v1", 1) for verb in ("created", "activated", "deactivated")]
    assert "Closed" not in str(events)


async def test_another_tenants_policies_decide_nothing_here(product: Live, caller: Caller) -> None:
    await activate(caller, await make(caller, PERMIT + FORBID), 0)
    await asyncio.sleep(WITHIN_SECONDS)
    async with product.caller() as stranger:
        assert await started(stranger) == (201, [])


async def test_to_go_back_an_older_version_is_activated(caller: Caller) -> None:
    first, second = await make(caller, PERMIT + ASK), await make(caller, PERMIT + FORBID)
    await activate(caller, first, 0)
    await activate(caller, second, 1)
    assert await in_force(caller) == [2]
    await activate(caller, first, 2)
    assert await in_force(caller) == [1]
    await asyncio.sleep(WITHIN_SECONDS)
    assert (await caller.start()).status_code == 202


async def test_of_two_who_saw_the_same_version_one_wins(caller: Caller) -> None:
    made = [await make(caller, PERMIT + f"// {number}\n") for number in range(6)]
    answers = await asyncio.gather(
        *(caller.post(f"/v1/policy-sets/{each['policy_set_id']}/activate", {"expected_version": 0}) for each in made)
    )
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200, *[409] * 5]
    (version,) = await in_force(caller)
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert_problem(refused, 409, "conflict")
    assert f"Version {version} is in force" in refused.json()["detail"]


async def test_saying_it_again_is_harmless(caller: Caller) -> None:
    made = await make(caller)
    path = f"/v1/policy-sets/{made['policy_set_id']}"
    assert (await caller.post(f"{path}/deactivate")).status_code == 200
    first, again = [await caller.post(f"{path}/activate", {"expected_version": 0}, key="once") for _ in range(2)]
    assert (first.status_code, again.status_code, again.json()) == (200, 200, first.json())
    assert (await activate(caller, made, 0))["active"]
    events = (await caller.get("/v1/events?topic=policy.decisions&limit=200")).json()["events"]
    assert [event["type"].split(".")[2] for event in events] == ["created", "activated"]


@pytest.mark.parametrize("active", [True, False])
async def test_an_attempt_that_died_after_its_commit_changes_nothing_later(product: Live, caller: Caller, active: bool) -> None:
    first, second = await make(caller), await make(caller, FORBID)
    if not active:
        await activate(caller, first, 0)
    actor = Actor(tenant_id=caller.tenant, subject="ada", client_id="c", scopes=(), jti="j")
    store = PostgresPolicySets(product.pool)
    change = PolicySetActivationInput(
        change_id=new_uuid(), actor=actor, policy_set_id=first["policy_set_id"], active=active, expected_version=0
    )
    await store.activate(change)
    later = second if active else first
    await activate(caller, later, 1 if active else 0)
    await store.activate(change)
    assert await in_force(caller) == [later["version"]]


async def test_templates_render_to_policies_that_decide(caller: Caller) -> None:
    templates = (await caller.get("/v1/policy-templates")).json()["templates"]
    uses = [
        {"template": "region-allow-list", "regions": ["local"]},
        {"template": "model-role-allow-list", "roles": ["summarization"]},
        {"template": "document-size-cap", "max_bytes": 10},
        {"template": "escalate-by-score", "score": 500},
    ]
    assert [each["template"] for each in templates] == [use["template"] for use in uses]
    shown = (await caller.post("/v1/policy-sets/validate", {"templates": uses})).json()
    assert (shown["valid"], shown["faults"]) == (True, [])
    made = await make(caller, templates=uses)
    assert (made["text"], made["digest"], made["policies"]) == (shown["text"], shown["digest"], 5)
    await activate(caller, made, 0)
    await asyncio.sleep(WITHIN_SECONDS)
    assert await started(caller) == (403, ["model-role-allow-list"])


@pytest.mark.parametrize(
    ("text", "line", "column", "complaint"),
    [
        (PERMIT + "\n  permit(", 3, 3, "do not parse"),
        (PERMIT + '@id("b") permit(principal, action, resource) when { context.score > "much" };', 2, 1, "unexpected type"),
        (PERMIT + "// all\n forbid(principal, action, resource);", 3, 2, "needs an @id"),
        (PERMIT + PERMIT, 2, 1, "2 policies have the id all"),
        (PERMIT + '@id("b") permit(principal == ?principal, action, resource);', None, None, "template"),
        ("".join(f'@id("p{number}") permit(principal, action, resource);' for number in range(201)), None, None, "200 at most"),
    ],
)
async def test_policies_that_cannot_be_used_are_refused_with_their_place(
    product: Live, caller: Caller, text: str, line: int | None, column: int | None, complaint: str
) -> None:
    answer = await caller.post("/v1/policy-sets", {"name": "x", "text": text})
    assert_problem(answer, 422, "policy-invalid")
    (fault, *_) = answer.json()["faults"]
    assert (fault["line"], fault["column"]) == (line, column)
    assert complaint in fault["message"]
    validated = (await caller.post("/v1/policy-sets/validate", {"text": text})).json()
    assert (validated["valid"], validated["faults"]) == (False, answer.json()["faults"])
    assert (await caller.get("/v1/policy-sets")).json()["policy_sets"] == []
    async with tenant_transaction(product.pool, caller.tenant) as connection:
        assert await connection.fetchval("SELECT count(*) FROM outbox") == 0


async def test_a_set_in_force_that_cannot_be_used_any_more_is_not_as_if_there_were_none(
    stack: EmbeddedStack, product: Live, caller: Caller
) -> None:
    """What the gate makes of the error is tests/unit/test_policy_layers.py's."""
    await activate(caller, await make(caller), 0)
    current = CurrentPolicySets(product.pool, CedarEngine(), memory_seconds=0)
    found = await current.current(caller.tenant)
    assert found is not None
    assert (found.version, found.text) == (1, PERMIT)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with tenant_transaction(product.pool, caller.tenant) as connection:
            await connection.execute("UPDATE policy_sets SET text = $1", "permit(")
    owner = await connect(stack.environment["DATABASE_MIGRATION_URL"])
    try:
        await owner.execute("SELECT set_config('app.tenant', $1, false)", caller.tenant)
        await owner.execute("UPDATE policy_sets SET text = $1 WHERE tenant_id = $2", "permit(", caller.tenant)
    finally:
        await owner.close()
    for _ in range(2):
        with pytest.raises(Unprocessable, match="cannot be used: The policies do not parse"):
            await current.current(caller.tenant)
    await asyncio.sleep(WITHIN_SECONDS)
    asked = {
        "subject": {"type": "user", "id": "x"},
        "action": {"name": "turn:answer"},
        "resource": {"type": "session", "id": "ses_1"},
    }
    assert_problem(await caller.post("/v1/policy/evaluate", asked), 422, "unprocessable")
    (made,) = (await caller.get("/v1/policy-sets?active=true")).json()["policy_sets"]
    assert (await caller.post(f"/v1/policy-sets/{made['policy_set_id']}/deactivate")).status_code == 200
    assert await current.current(caller.tenant) is None


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "x"},
        {"name": "x", "text": ""},
        {"name": "", "text": PERMIT},
        {"name": "a\nb", "text": PERMIT},
        {"name": "x", "text": PERMIT + "\u0007"},
        {"name": "x", "text": "x" * 131_073},
        {"name": "x", "text": PERMIT, "templates": [{"template": "region-allow-list", "regions": ["eu"]}]},
        {"name": "x", "templates": []},
        {"name": "x", "templates": [{"template": "nothing"}]},
        {"name": "x", "templates": [{"template": "region-allow-list", "regions": ['eu"]); permit']}]},
        {"name": "x", "templates": [{"template": "region-allow-list", "regions": []}]},
        {"name": "x", "templates": [{"template": "escalate-by-score", "score": 1001}]},
        {"name": "x", "templates": [{"template": "document-size-cap", "max_bytes": -1}]},
        {"name": "x", "templates": [{"template": "document-size-cap", "max_bytes": True}]},
        {"name": "x", "text": PERMIT, "active": True},
    ],
)
async def test_bad_input_changes_nothing(caller: Caller, body: dict[str, Any]) -> None:
    assert_problem(await caller.post("/v1/policy-sets", body), 400, "invalid-request")
    assert (await caller.get("/v1/policy-sets")).json()["policy_sets"] == []


@pytest.mark.parametrize("body", [{}, {"expected_version": -1}, {"expected_version": "0"}, {"expected_version": None}])
async def test_who_does_not_say_what_he_saw_changes_nothing(caller: Caller, body: dict[str, Any]) -> None:
    made = await make(caller)
    answer = await caller.post(f"/v1/policy-sets/{made['policy_set_id']}/activate", body)
    assert_problem(answer, 400, "invalid-request")
    assert await in_force(caller) == []


async def test_it_takes_its_scope_and_another_tenants_is_unknown(product: Live, caller: Caller) -> None:
    made = await make(caller)
    path = f"/v1/policy-sets/{made['policy_set_id']}"
    async with product.caller(Scope.POLICY_READ) as reader:
        assert (await reader.post("/v1/policy-sets", {"name": "x", "text": PERMIT})).status_code == 403
        assert (await reader.post(f"{path}/activate", {"expected_version": 0})).status_code == 403
        assert (await reader.post(f"{path}/deactivate")).status_code == 403
        assert (await reader.get(path)).status_code == 404
    async with product.caller(Scope.POLICY_WRITE) as writer:
        assert (await writer.get("/v1/policy-sets")).status_code == 403
        assert (await writer.post(f"{path}/activate", {"expected_version": 0})).status_code == 404
        assert (await writer.post(f"{path}/deactivate")).status_code == 404
    assert (await caller.post("/v1/policy-sets/pol_x/activate", {"expected_version": 0})).status_code == 404
    assert await in_force(caller) == []


async def test_the_list_pages(caller: Caller) -> None:
    made = [await make(caller, PERMIT + f"// {number}\n") for number in range(4)]
    page = (await caller.get("/v1/policy-sets?limit=3")).json()
    rest = (await caller.get(f"/v1/policy-sets?limit=3&after={page['next']}")).json()
    assert [each["version"] for part in (page, rest) for each in part["policy_sets"]] == [4, 3, 2, 1]
    assert rest["next"] is None
    assert "text" not in page["policy_sets"][0]
    assert (await caller.get(f"/v1/policy-sets/{made[0]['policy_set_id']}")).json() == made[0]
    await activate(caller, made[1], 0)
    assert len((await caller.get("/v1/policy-sets?active=false")).json()["policy_sets"]) == 3
