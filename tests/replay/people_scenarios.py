"""Runs of users, of what two people approve, and of a switch they release, whose histories are recorded."""

from __future__ import annotations

from typing import Any, Final
from uuid import uuid4

import httpx2
from browser import activated, token_of
from live import Caller, Live
from replay.identity_scenarios import Play

from domain.names import WorkflowName

DIGEST: Final = "ab" * 32


async def user_made(_product: Live, caller: Caller, name: str = "ada") -> dict[str, Any]:
    answer = await caller.post("/v1/users", {"name": name, "display_name": name, "roles": ["approver"]})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def user_changed(product: Live, caller: Caller) -> None:
    user_id = (await user_made(product, caller))["user"]["user_id"]
    changed = await caller.patch(f"/v1/users/{user_id}", {"locked": True}, if_match="*")
    assert changed.status_code == 200, changed.text


async def user_invited(product: Live, caller: Caller) -> None:
    user_id = (await user_made(product, caller))["user"]["user_id"]
    assert (await caller.post(f"/v1/users/{user_id}/invite")).is_success


async def user_activated(product: Live, caller: Caller, name: str = "ada") -> str:
    """The token of their first log-in."""
    return await token_of(product.url, await activated(product.url, await user_made(product, caller, name), caller.tenant))


async def user_deleted(product: Live, caller: Caller) -> None:
    user_id = (await user_made(product, caller))["user"]["user_id"]
    assert (await caller.delete(f"/v1/users/{user_id}")).status_code == 204


async def approval_proposed(_product: Live, caller: Caller, resource: str = "recorded", digest: str = DIGEST) -> str:
    wanted = {"action": "killswitch.release", "resource": resource, "digest": digest}
    return (await caller.post("/v1/approvals", wanted)).json()["approval_id"]


async def approval_withdrawn(product: Live, caller: Caller) -> None:
    assert (await caller.post(f"/v1/approvals/{await approval_proposed(product, caller)}/withdraw")).is_success


async def approved(product: Live, caller: Caller) -> None:
    await _approve(product, caller, "ada", await approval_proposed(product, caller), DIGEST)


async def switch_released(product: Live, caller: Caller) -> str:
    """The id of the run of a switch that two people release."""
    made = (await caller.post("/v1/kill-switches", {"scope": "tool", "value": "nobody-has-it", "reason": "recorded"})).json()
    approval_id = await approval_proposed(product, caller, made["switch_id"], made["release_digest"])
    for name in ("ada", "bob"):
        await _approve(product, caller, name, approval_id, made["release_digest"])
    assert (await caller.post(f"/v1/kill-switches/{made['switch_id']}/release")).status_code == 200
    run = f"kill-switch/{caller.tenant}/{made['switch_id']}"
    await product.temporal.get_workflow_handle(run).result()
    return run


async def _approve(product: Live, caller: Caller, name: str, approval_id: str, digest: str) -> None:
    headers = {"Authorization": f"Bearer {await user_activated(product, caller, name)}", "Idempotency-Key": str(uuid4())}
    async with httpx2.AsyncClient(base_url=product.url, trust_env=False, timeout=60) as http:
        answer = await http.post(f"/v1/approvals/{approval_id}/approve", json={"digest": digest}, headers=headers)
    assert answer.status_code == 200, answer.text


PEOPLE: Final[dict[str, tuple[Play, WorkflowName]]] = {
    "user_made": (user_made, WorkflowName.USER_CREATE),
    "user_changed": (user_changed, WorkflowName.USER_CHANGE),
    "user_invited": (user_invited, WorkflowName.USER_INVITE),
    "user_activated": (user_activated, WorkflowName.USER_ACTIVATE),
    "user_deleted": (user_deleted, WorkflowName.USER_DELETE),
    "approval_proposed": (approval_proposed, WorkflowName.TWO_KEY_PROPOSE),
    "approval_withdrawn": (approval_withdrawn, WorkflowName.TWO_KEY_WITHDRAW),
    "approved": (approved, WorkflowName.TWO_KEY_APPROVE),
}
