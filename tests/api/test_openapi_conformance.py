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
from live import Caller, Live, live

from workers.embedded.stack import EmbeddedStack

HERE = Path(__file__).parent
SECONDS = 100
NOT_YET = r"^/v1/(slm|chat|responses|embeddings|models|budgets|ledger|usage|api-keys)"
"""Not held to the document by this test yet: their bodies have so many members that it would take minutes. Tests of their own,
in this folder and beside it, send them good and bad requests."""
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
async def caller(product: Live) -> AsyncIterator[Caller]:
    async with product.caller() as caller:
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


async def schemathesis(directory: Path, url: str, caller: Caller, decisions: dict[str, str]) -> tuple[int | None, str]:
    """Runs it in that directory; its exit code (0 when nothing deviates, None when it was stopped) and what it printed."""
    named = "".join(f'\n[dictionaries.{name}]\nvalues = ["{decision}"]\n' for name, decision in decisions.items())
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
            *("--exclude-path-regex", NOT_YET),
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


async def test_the_gateway_answers_as_its_document_says(product: Live, caller: Caller, tmp_path: Path) -> None:
    document = (await caller.http.get("/openapi.json")).json()
    (tmp_path / "openapi.json").write_text(json.dumps(with_bearer_tokens(document)))
    decisions = {name: await decision_to_make(caller) for name in ("to_approve", "to_refuse")}
    before = answers(product)

    code, printed = await schemathesis(tmp_path, product.url, caller, decisions)

    assert code == 0, printed
    counted = answers(product) - before
    exercised = {(method, route) for method, route, status in counted if status < 300}
    paths = {path: item for path, item in document["paths"].items() if not re.match(NOT_YET, path)}
    operations = {(method, path) for path, item in paths.items() for method in item}
    assert operations - exercised == set(), f"never answered with success\n{printed}"
    refused = {(method, route) for method, route, status in counted if status in (400, 401, 404, 422)}
    assert {name for name in operations if may_refuse(document, *name)} - refused == set(), printed


def may_refuse(document: dict[str, Any], method: str, path: str) -> bool:
    """Whether anything about a request could be wrong."""
    operation = document["paths"][path][method]
    return any(operation.get(part) for part in ("security", "parameters", "requestBody"))
