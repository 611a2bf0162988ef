"""Kill switches over HTTP, with workers on real servers: what stops, what goes on, and what is stated of it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from live import Caller, Live, live, until
from temporalio.client import Schedule, ScheduleActionStartWorkflow, ScheduleIntervalSpec, ScheduleSpec

from adapters.signing import read_trusted_keys
from adapters.statements import verify_statement
from domain.names import SYSTEM_TENANT, Feature, Lane
from workers.embedded.stack import EmbeddedStack
from workflows.options import search_attributes

REASON = "It mails customers on its own."


async def engage(caller: Caller, scope: str, value: str | None = None, **more: Any) -> dict[str, Any]:
    answer = await caller.post("/v1/kill-switches", {"scope": scope, "value": value, "reason": REASON} | more)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def until_stated(caller: Caller, switch_id: str) -> dict[str, Any]:
    async def stated() -> dict[str, Any] | None:
        found = (await caller.get(f"/v1/kill-switches/{switch_id}")).json()
        return found if found["stated_at"] else None

    return await until(stated, 40)


@pytest.fixture
async def operator(product: Live) -> AsyncIterator[Caller]:
    """A client of the platform's own tenant."""
    async with product.caller(tenant=SYSTEM_TENANT) as operator:
        yield operator


async def test_a_stopped_tenant_gets_503_and_others_go_on(product: Live, caller: Caller) -> None:
    made = await engage(caller, "tenant")
    assert (made["state"], made["target_tenant"], made["reason"]) == ("engaged", caller.tenant, REASON)
    for refused in (
        await caller.start("Hello?"),
        await caller.post("/v1/documents", {"name": "a.txt", "content": "a", "media_type": "text/plain"}),
        await caller.post("/v1/slm/complete", {"messages": [{"role": "user", "content": "Hello?"}]}),
    ):
        assert refused.status_code == 503, refused.text
        problem = refused.json()
        assert problem["type"].endswith("/kill-switch-engaged")
        assert (problem["switch_id"], problem["scope"]) == (made["switch_id"], "tenant")
    assert (await caller.get("/v1/sessions")).status_code == 200
    async with product.caller() as stranger:
        assert (await stranger.start("Hello?")).status_code == 201
        assert (await stranger.get(f"/v1/kill-switches/{made['switch_id']}")).status_code == 404


async def test_running_sessions_are_ended_and_the_statement_names_them(
    product: Live, caller: Caller, stack: EmbeddedStack
) -> None:
    sessions = [(await caller.start("Hello?")).json()["session_id"] for _ in range(3)]
    made = await engage(caller, "tenant")
    stated = await until_stated(caller, made["switch_id"])
    assert (stated["runs_found"], stated["runs_open"]) == (3, 0)
    for session_id in sessions:
        session = await caller.transcript(session_id)
        assert (session["session"]["status"], session["session"]["close_reason"]) == ("closed", "kill-switch")
    envelope = (await caller.get(f"/v1/kill-switches/{made['switch_id']}/statement")).json()
    statement = verify_statement(envelope, read_trusted_keys(stack.keys.statement_trusted))
    assert {run.workflow_id for run in statement.runs} == {product.run_of(each, caller.tenant) for each in sessions}
    assert all(run.closed_at for run in statement.runs)
    assert (statement.effects_found, statement.effects_unknown) == (0, 0)
    types = [event["type"] for event in (await caller.get("/v1/events?topic=killswitch.events")).json()["events"]]
    assert types == ["somagent.kill_switch.engaged.v1", "somagent.kill_switch.stated.v1"]


async def test_schedules_of_what_is_stopped_pause_and_go_on_after_it(product: Live, caller: Caller) -> None:
    schedules = {tenant: f"nightly-{tenant}-{uuid.uuid4().hex[:6]}" for tenant in (caller.tenant, "another")}
    for tenant, name in schedules.items():
        attributes = search_attributes(feature=Feature.SLM, tenant_id=tenant, lane=Lane.BATCH, region="local")
        action = ScheduleActionStartWorkflow("nobody.runs.it", id=name, task_queue="nobody")
        spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(days=1))])
        await product.temporal.create_schedule(name, Schedule(action=action, spec=spec), search_attributes=attributes)

    async def paused() -> dict[str, bool]:
        described = {tenant: await product.temporal.get_schedule_handle(name).describe() for tenant, name in schedules.items()}
        return {tenant: found.schedule.state.paused for tenant, found in described.items()}

    async def listed() -> bool:
        found = {schedule.id async for schedule in await product.temporal.list_schedules()}
        return found.issuperset(schedules.values())

    # The index of schedules lags.
    await until(listed, 20)
    made = await engage(caller, "tenant", expires_in_seconds=8)
    await until_stated(caller, made["switch_id"])
    assert await paused() == {caller.tenant: True, "another": False}

    async def goes_on() -> bool:
        return not (await paused())[caller.tenant]

    await until(goes_on, 20)
    for name in schedules.values():
        await product.temporal.get_schedule_handle(name).delete()


async def test_an_expired_switch_stops_nothing_any_more(caller: Caller) -> None:
    made = await engage(caller, "tenant", expires_in_seconds=2)
    assert (await caller.start("Hello?")).status_code == 503

    async def goes_on() -> bool:
        return (await caller.start("Hello?")).status_code == 201

    await until(goes_on, 10)
    assert (await caller.get(f"/v1/kill-switches/{made['switch_id']}")).json()["state"] == "expired"


async def test_a_provider_that_is_stopped_is_not_asked(caller: Caller) -> None:
    await engage(caller, "provider", "soma")
    started = (await caller.start("Hello?")).json()
    assert started["status"] == "open"

    async def failed() -> dict[str, Any] | None:
        (turn,) = (await caller.transcript(started["session_id"]))["turns"]
        return turn if turn["status"] == "failed" else None

    turn = await until(failed)
    assert turn["error"]["type"] == "kill-switch-engaged"


async def test_a_user_is_stopped_and_others_of_the_tenant_go_on(product: Live, caller: Caller) -> None:
    async with product.caller(tenant=caller.tenant) as other:
        mine = (await caller.start("Hello?")).json()["session_id"]
        theirs = (await other.start("Hello?")).json()["session_id"]
        made = await engage(caller, "user", other.client.client_id)
        assert (await other.start("Again?")).status_code == 503
        assert (await caller.send(mine, "Again?")).status_code in (200, 202)
        assert (await until_stated(caller, made["switch_id"]))["runs_found"] == 1
        assert (await caller.transcript(theirs))["session"]["status"] == "closed"
        assert (await caller.transcript(mine))["session"]["status"] == "open"


async def test_the_platforms_operators_stop_a_tenant_which_sees_that(caller: Caller, operator: Caller) -> None:
    made = await engage(operator, "tenant", tenant_id=caller.tenant)
    assert (await caller.start("Hello?")).status_code == 503
    (seen,) = (await caller.get("/v1/kill-switches")).json()["kill_switches"]
    assert seen["switch_id"] == made["switch_id"]
    assert (await caller.get(f"/v1/kill-switches/{made['switch_id']}/statement")).status_code == 404
    await until_stated(operator, made["switch_id"])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"scope": "all"}, 403),
        ({"scope": "region", "value": "local"}, 403),
        ({"scope": "tenant", "tenant_id": "another"}, 403),
        ({"scope": "user"}, 400),
        ({"scope": "tenant", "value": "x"}, 400),
        ({"scope": "everything"}, 400),
        ({"scope": "user", "value": "a' OR '1'='1"}, 400),
        ({"scope": "tenant", "reason": ""}, 400),
        ({"scope": "tenant", "expires_in_seconds": 0}, 400),
        ({"scope": "tenant", "expires_in_seconds": "9"}, 400),
        ({"scope": "tenant", "more": 1}, 400),
    ],
)
async def test_what_may_not_be_stopped_is_refused(caller: Caller, body: dict[str, Any], status: int) -> None:
    answer = await caller.post("/v1/kill-switches", {"reason": REASON} | body)
    assert answer.status_code == status, answer.text
    assert (await caller.get("/v1/kill-switches")).json()["kill_switches"] == []


async def test_the_same_request_engages_once_and_the_list_pages(caller: Caller) -> None:
    body = {"scope": "tool", "value": "mailer", "reason": REASON}
    first, again = [await caller.post("/v1/kill-switches", body, key="once") for _ in range(2)]
    assert (first.status_code, again.json()["switch_id"]) == (201, first.json()["switch_id"])
    made = [first.json()["switch_id"], *[(await engage(caller, "tool", f"t{n}"))["switch_id"] for n in range(2)]]
    page = (await caller.get("/v1/kill-switches?limit=2&state=engaged")).json()
    rest = (await caller.get(f"/v1/kill-switches?limit=2&after={page['next']}")).json()
    listed = [each["switch_id"] for each in (*page["kill_switches"], *rest["kill_switches"])]
    assert listed == list(reversed(made))
    assert (await caller.start("Hello?")).status_code == 201


async def test_a_switch_stops_while_no_worker_runs_and_is_carried_out_later(stack: EmbeddedStack) -> None:
    tenant = f"t-{uuid.uuid4().hex[:12]}"
    async with live(stack, queues=()) as product, product.caller(tenant=tenant) as caller:
        made = await engage(caller, "tenant")
        assert (await caller.start("Hello?")).status_code == 503
        assert made["stated_at"] is None
    async with live(stack) as product, product.caller(tenant=tenant) as caller:
        await until_stated(caller, made["switch_id"])


async def test_everything_is_stopped_at_once(product: Live, caller: Caller, operator: Caller) -> None:
    made = await engage(operator, "all", expires_in_seconds=2)
    async with product.caller() as other:
        answers = await asyncio.gather(caller.start("Hello?"), other.start("Hello?"))
    assert [answer.status_code for answer in answers] == [503, 503]
    assert {answer.json()["switch_id"] for answer in answers} == {made["switch_id"]}

    async def goes_on() -> bool:
        return (await caller.start("Hello?")).status_code == 201

    await until(goes_on, 10)
