"""A kill switch ends once two different people have approved exactly that, and not before."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx2
from browser import activated, token_of
from live import Caller, Live, until


async def logged_in(product: Live, caller: Caller, name: str) -> str:
    """The token of somebody with the role approver."""
    made = await caller.post("/v1/users", {"name": name, "display_name": name, "roles": ["approver"]})
    return await token_of(product.url, await activated(product.url, made.json(), caller.tenant))


async def approve(product: Live, token: str, approval_id: str, digest: str) -> int:
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": str(uuid4())}
    async with httpx2.AsyncClient(base_url=product.url, trust_env=False, timeout=60) as http:
        return (await http.post(f"/v1/approvals/{approval_id}/approve", json={"digest": digest}, headers=headers)).status_code


async def engaged(caller: Caller) -> dict[str, Any]:
    return (await caller.post("/v1/kill-switches", {"scope": "tenant", "reason": "test"})).json()


async def test_two_people_release_it_and_work_goes_on(product: Live, caller: Caller) -> None:
    made = await engaged(caller)
    path = f"/v1/kill-switches/{made['switch_id']}"
    assert (await caller.post(f"{path}/release")).status_code == 403
    wanted = {"action": "killswitch.release", "resource": made["switch_id"], "digest": made["release_digest"]}
    approval_id = (await caller.post("/v1/approvals", wanted)).json()["approval_id"]
    first, second = [await logged_in(product, caller, name) for name in ("ada", "bob")]
    assert await approve(product, first, approval_id, made["release_digest"]) == 200
    # One person is not two.
    assert (await caller.post(f"{path}/release")).status_code == 403
    assert (await caller.start("Hello?")).status_code == 503
    assert await approve(product, second, approval_id, made["release_digest"]) == 200
    released = await caller.post(f"{path}/release")
    assert released.status_code == 200, released.text
    assert (released.json()["state"], len(released.json()["released_by"])) == ("released", 2)
    again = await caller.post(f"{path}/release")
    assert again.json()["released_at"] == released.json()["released_at"]

    async def goes_on() -> bool:
        return (await caller.start("Hello?")).status_code == 201

    await until(goes_on, 5)
    types = [event["type"] for event in (await caller.get("/v1/events?topic=killswitch.events")).json()["events"]]
    assert types[0].endswith("engaged.v1")
    assert types.count("somagent.kill_switch.released.v1") == 1


async def test_an_approval_of_one_switch_releases_no_other(product: Live, caller: Caller) -> None:
    one, other = [await engaged(caller) for _ in range(2)]
    wanted = {"action": "killswitch.release", "resource": one["switch_id"], "digest": one["release_digest"]}
    approval_id = (await caller.post("/v1/approvals", wanted)).json()["approval_id"]
    for name in ("ada", "bob"):
        token = await logged_in(product, caller, name)
        assert await approve(product, token, approval_id, one["release_digest"]) == 200
    assert (await caller.post(f"/v1/kill-switches/{other['switch_id']}/release")).status_code == 403
    assert (await caller.post(f"/v1/kill-switches/{one['switch_id']}/release")).status_code == 200
    # The other one still stops everything.
    refused = await caller.start("Hello?")
    assert (refused.status_code, refused.json()["switch_id"]) == (503, other["switch_id"])


async def test_another_tenants_switch_is_unknown(product: Live, caller: Caller) -> None:
    made = await engaged(caller)
    async with product.caller() as stranger:
        assert (await stranger.post(f"/v1/kill-switches/{made['switch_id']}/release")).status_code == 404
