"""Runs of roles, clients and tenants whose histories are recorded; each answers with the id of its workflow."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from live import Caller, Live

from domain.names import SYSTEM_TENANT, WorkflowName

ROLE: Final = {"name": "clerk", "capabilities": ["document:read"]}
CLIENT: Final = {"name": "recorded", "scopes": ["slm:call"], "roles": ["viewer"]}


async def role_made(_product: Live, caller: Caller) -> None:
    assert (await caller.post("/v1/roles", ROLE)).status_code == 201


async def role_replaced(product: Live, caller: Caller) -> None:
    await role_made(product, caller)
    body = {"capabilities": ["session:read:ses_1*"]}
    assert (await caller.put("/v1/roles/clerk", body, if_match='"1"')).status_code == 200


async def role_deleted(product: Live, caller: Caller) -> None:
    await role_made(product, caller)
    assert (await caller.delete("/v1/roles/clerk")).status_code == 204


async def client_made(_product: Live, caller: Caller) -> str:
    answer = await caller.post("/v1/clients", CLIENT)
    assert answer.status_code == 201, answer.text
    return f"/v1/clients/{answer.json()['client']['client_id']}"


async def client_changed(product: Live, caller: Caller) -> None:
    path = await client_made(product, caller)
    assert (await caller.patch(path, {"name": "renamed"}, if_match='"1"')).status_code == 200


async def client_rotated(product: Live, caller: Caller) -> None:
    path = await client_made(product, caller)
    assert (await caller.post(f"{path}/secret", {"overlap_seconds": 60})).status_code == 200


async def client_disabled(product: Live, caller: Caller) -> None:
    assert (await caller.delete(await client_made(product, caller))).status_code == 204


async def tenant_made(_product: Live, platform: Caller) -> str:
    body = {"tenant_id": f"t-{platform.client.client_id[-12:]}", "name": "Recorded", "residency": ["local"]}
    answer = await platform.post("/v1/tenants", body)
    assert answer.status_code == 201, answer.text
    return f"/v1/tenants/{body['tenant_id']}"


async def tenant_changed(product: Live, platform: Caller) -> None:
    path = await tenant_made(product, platform)
    assert (await platform.patch(path, {"limits": {"requests_per_minute": 60}}, if_match='"1"')).status_code == 200


async def tenant_deleted(product: Live, platform: Caller) -> None:
    assert (await platform.delete(await tenant_made(product, platform))).status_code == 204


Play = Callable[[Live, Caller], Awaitable[object]]
PLAYS: Final[dict[str, tuple[Play, WorkflowName]]] = {
    "role_made": (role_made, WorkflowName.ROLE_CREATE),
    "role_replaced": (role_replaced, WorkflowName.ROLE_REPLACE),
    "role_deleted": (role_deleted, WorkflowName.ROLE_DELETE),
    "client_made": (client_made, WorkflowName.CLIENT_CREATE),
    "client_changed": (client_changed, WorkflowName.CLIENT_CHANGE),
    "client_rotated": (client_rotated, WorkflowName.CLIENT_ROTATE),
    "client_disabled": (client_disabled, WorkflowName.CLIENT_DISABLE),
    "tenant_made": (tenant_made, WorkflowName.TENANT_CREATE),
    "tenant_changed": (tenant_changed, WorkflowName.TENANT_CHANGE),
    "tenant_deleted": (tenant_deleted, WorkflowName.TENANT_DELETE),
}


def played(
    play: Play, name: WorkflowName, run_of: Callable[[Live, Caller, str], Awaitable[str]]
) -> Callable[[Live, Caller], Awaitable[str]]:
    """The scenario that plays this and answers with the id of the run of that type; tenants are the platform's to make."""

    async def scenario(product: Live, caller: Caller) -> str:
        if not name.startswith("tenant."):
            await play(product, caller)
            return await run_of(product, caller, name.value)
        async with product.caller(tenant=SYSTEM_TENANT) as platform:
            await play(product, platform)
            return await run_of(product, platform, name.value)

    return scenario
