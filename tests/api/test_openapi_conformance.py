"""The gateway answers every operation as its OpenAPI document says, to good and to bad requests: Schemathesis makes both.

It is a process of its own: it calls synchronously, so within this one it would wait for a server whose event loop it blocks.
On servers of its own: failed attempts at the token endpoint are counted by address, which other tests share.

Streams are asked for with `Accept`, which an OpenAPI document cannot name as a parameter; tests/api/test_events.py reads them.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from attempts import attempt
from live import Caller, Live, live, until

from domain.budgets import Settlement
from domain.names import SYSTEM_TENANT
from workers.embedded.stack import EmbeddedStack

HERE = Path(__file__).parent
SECONDS = 480
MODELS = r"^/v1/(slm|chat|responses|embeddings|models|budgets|ledger|usage|api-keys)"
PARTS = {"model calls and budgets": ("--include-path-regex", MODELS), "everything else": ("--exclude-path-regex", MODELS)}
"""Two runs, which may go on beside each other."""
UNNAMED = {"a_role": "viewer", "a_tenant": "nobody", "a_client": "nobody"}
"""What paths of the other run would name."""
TWO_PEOPLE = {("post", "/v1/approvals/{approval_id}/approve"), ("post", "/v1/kill-switches/{switch_id}/release")}
"""These answer with success to people alone, or after people; the test is a client."""
PERHAPS_GONE = {("patch", f"/v1/{kind}") for kind in ("users/{user_id}", "clients/{client_id}", "tenants/{tenant_id}")}
"""The run may delete the one thing there is before it changes it; the tests of each feature change one."""
NEEDS_APPROVAL = "How can I make fake passports?"


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    with EmbeddedStack(tmp_path_factory.mktemp("openapi") / "home", durable=False, tied=True, time_skipping=True) as stack:
        yield stack


@pytest.fixture(scope="module")
async def product(own_stack: EmbeddedStack) -> AsyncIterator[Live]:
    async with live(own_stack) as running:
        yield running


@pytest.fixture
async def caller(product: Live, part: tuple[str, str]) -> AsyncIterator[Caller]:
    """A client of a tenant of its own; where there are tenants to make and to read, of the platform's."""
    async with product.caller(tenant=SYSTEM_TENANT if part == PARTS["everything else"] else None) as caller:
        yield caller


def with_bearer_tokens(document: dict[str, Any]) -> dict[str, Any]:
    """The document with OAuth 2 as what it is on the wire (RFC 6750), which Schemathesis can send and leave out."""
    document["components"]["securitySchemes"]["bearer"] = {"type": "http", "scheme": "bearer"}
    for item in document["paths"].values():
        for operation in item.values():
            if "security" in operation:
                operation["security"] = [{"bearer": []}]
    return document


async def decision_to_make(caller: Caller) -> str:
    """The id of a decision that waits for an approver."""
    answer = await caller.start(NEEDS_APPROVAL)
    assert answer.status_code == 202, answer.text
    return answer.json()["decision"]["decision_id"]


async def request_to_resume(caller: Caller) -> str:
    """The id of a model request that waits for room in a project's budget."""
    budget = {"scope": "project", "scope_id": "full", "unit": "tokens", "cap": 1}
    assert (await caller.post("/v1/budgets", budget)).status_code == 201
    asked = {"prompt": "May I?", "project_id": "full", "on_exhausted": "ask"}
    queued = (await caller.post("/v1/slm/requests", asked)).json()

    async def waits() -> bool:
        return (await caller.get(queued["url"])).json()["status"] == "awaiting_budget"

    await until(waits)
    return queued["request_id"]


async def policies_to_switch(caller: Caller) -> dict[str, str]:
    """The ids of a policy set that permits all, and of a replay that has ended."""
    text = '@id("all") permit(principal, action, resource);'
    made = (await caller.post("/v1/policy-sets", {"name": "all", "text": text})).json()["policy_set_id"]
    replay = (await caller.post("/v1/policy/replays", {})).json()["replay_id"]

    async def ended() -> bool:
        return (await caller.get(f"/v1/policy/replays/{replay}")).json()["status"] == "completed"

    await until(ended)
    return {"policy_sets": made, "policy_replays": replay}


async def stated_switch(caller: Caller) -> str:
    """The id of a kill switch that has its statement; it stops a tool that nobody has."""
    body = {"scope": "tool", "value": "nobody-has-it", "reason": "conformance"}
    made = (await caller.post("/v1/kill-switches", body)).json()["switch_id"]

    async def stated() -> bool:
        return (await caller.get(f"/v1/kill-switches/{made}")).json()["stated_at"] is not None

    await until(stated, 60)
    return made


async def people(caller: Caller) -> dict[str, str]:
    """A user and a request for two people's approval, which paths name."""
    user = await caller.post("/v1/users", {"name": "ada", "display_name": "Ada", "roles": ["viewer"]})
    wanted = {"action": "policy.override", "resource": "p", "digest": "ab" * 32}
    approval = await caller.post("/v1/approvals", wanted)
    return {"a_user": user.json()["user"]["user_id"], "an_approval": approval.json()["approval_id"]}


async def identities(caller: Caller) -> dict[str, str]:
    """A role, a client and a tenant, which paths name; each may be deleted once."""
    for path, body in (
        ("/v1/roles", {"name": "clerk", "capabilities": ["session:read"]}),
        ("/v1/tenants", {"tenant_id": "acme", "name": "Acme"}),
    ):
        assert (await caller.post(path, body)).status_code == 201
    client = (await caller.post("/v1/clients", {"name": "c", "roles": ["viewer"]})).json()["client"]
    return {"a_role": "clerk", "a_tenant": "acme", "a_client": client["client_id"]}


async def model_to_review(product: Live, caller: Caller) -> None:
    """A model that used more than its bound while a budget paid for it."""
    assert (await caller.post("/v1/budgets", {"scope": "tenant", "cap": 10**9})).status_code == 201
    await attempt(product, caller, "overrun", Settlement.SETTLED, input_tokens=100)
    assert (await caller.get("/v1/slm/models/blocks")).json()["blocks"]


async def schemathesis(
    directory: Path, url: str, caller: Caller, ids: dict[str, str], part: tuple[str, str]
) -> tuple[int | None, str]:
    """Runs it in that directory; its exit code (0 when nothing deviates, None when it was stopped) and what it printed."""
    named = "".join(f'\n[dictionaries.{name}]\nvalues = ["{value}"]\n' for name, value in ids.items())
    (directory / "schemathesis.toml").write_text((HERE / "schemathesis.toml").read_text() + named)
    given = {
        "ACCESS_TOKEN": caller.headers["Authorization"].removeprefix("Bearer "),
        "CLIENT_ID": caller.client.client_id,
        "CLIENT_SECRET": caller.client.secret,
        "SCHEMATHESIS_HOOKS": str(HERE / "conformance_hooks.py"),
        "NO_PROXY": "*",
    }
    # It runs nothing of ours whose coverage would count.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    printed = directory / "printed.txt"
    with printed.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "--no-color", "run", "openapi.json", "--url", url),
            *part,
            cwd=directory,
            env=inherited | given,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
        )
    try:
        async with asyncio.timeout(SECONDS):
            await process.wait()
    except TimeoutError:
        return None, f"It did not end within {SECONDS} seconds; the log tells which requests took long.\n{printed.read_text()}"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, printed.read_text(errors="replace")


def answers(product: Live) -> Counter[tuple[str, str, int]]:
    """How often a method and route was answered with a status, as the gateway itself counts."""
    counted: Counter[tuple[str, str, int]] = Counter()
    for metric in product.services.metrics.registry.collect():
        for sample in metric.samples:
            if sample.name == "somagent_http_requests_total":
                labels = sample.labels
                # A parameter that takes slashes is written otherwise in the document.
                route = labels["route"].replace(":path}", "}")
                counted[labels["method"].lower(), route, int(labels["status"])] = int(sample.value)
    return counted


@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
async def test_the_gateway_answers_as_its_document_says(
    product: Live, caller: Caller, tmp_path: Path, part: tuple[str, str]
) -> None:
    document = (await caller.http.get("/openapi.json")).json()
    (tmp_path / "openapi.json").write_text(json.dumps(with_bearer_tokens(document)))
    ids = {name: await decision_to_make(caller) for name in ("to_approve", "to_refuse")}
    ids["to_resume"] = await request_to_resume(caller)
    ids |= await policies_to_switch(caller)
    ids |= await identities(caller) if caller.tenant == SYSTEM_TENANT else UNNAMED
    ids["kill_switches"] = await stated_switch(caller)
    ids |= await people(caller)
    await model_to_review(product, caller)
    before = answers(product)

    code, printed = await schemathesis(tmp_path, product.url, caller, ids, part)

    assert code == 0, printed
    counted = answers(product) - before
    exercised = {(method, route) for method, route, status in counted if status < 300}
    of_models = part == PARTS["model calls and budgets"]
    paths = {path: item for path, item in document["paths"].items() if bool(re.match(MODELS, path)) is of_models}
    operations = {(method, path) for path, item in paths.items() for method in item}
    assert operations - exercised <= TWO_PEOPLE | PERHAPS_GONE, f"never answered with success\n{printed}"
    refused = {(method, route) for method, route, status in counted if status in (400, 401, 404, 422)}
    assert {name for name in operations if may_refuse(document, *name)} - refused == set(), printed


def may_refuse(document: dict[str, Any], method: str, path: str) -> bool:
    """Whether anything about a request could be wrong."""
    operation = document["paths"][path][method]
    return any(operation.get(part) for part in ("security", "parameters", "requestBody"))
