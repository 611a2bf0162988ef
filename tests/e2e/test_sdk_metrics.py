"""Worker and gateway show on their admin ports what the Temporal SDK counts in them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx2
import pytest
from live import settings_of, until
from prometheus_client.parser import text_string_to_metric_families
from soma_process import process
from temporalio.client import Client

from domain.actors import Actor
from domain.documents import DocumentDeletion
from domain.names import Queue, WorkflowName
from runtime.plugin import somagent_plugin
from runtime.sdk_metrics import LABELS
from workers.embedded.ports import free_ports
from workers.embedded.stack import EmbeddedStack

TENANT, DOCUMENT = "t-measured", "doc_" + "0" * 32

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
"""Values by name and labels."""


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(trust_env=False, timeout=5) as client:
        yield client


async def scraped(http: httpx2.AsyncClient, port: str) -> Samples:
    """What the SDK counted; nothing while the process is not up yet."""
    try:
        text = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
    except httpx2.TransportError:
        return {}
    families = [family for family in text_string_to_metric_families(text) if family.name.startswith("temporal_")]
    return {(sample.name, frozenset(sample.labels.items())): sample.value for family in families for sample in family.samples}


def value(samples: Samples, name: str, **labels: str) -> float:
    """Summed over every other label."""
    return sum(found for (other, given), found in samples.items() if other == name and labels.items() <= dict(given).items())


async def until_shown(http: httpx2.AsyncClient, port: str, *names: str) -> Samples:
    """What the SDK counted, once all of those are among it."""

    async def look() -> Samples:
        samples = await scraped(http, port)
        return samples if all(value(samples, name) > 0 for name in names) else {}

    return await until(look, 40)


async def test_a_worker_shows_its_slots_its_polls_and_its_latencies(stack: EmbeddedStack, http: httpx2.AsyncClient) -> None:
    (port,) = map(str, free_ports(1))
    plugin = somagent_plugin(settings_of(stack).codec_key_file)
    client = await Client.connect(stack.environment["TEMPORAL_ADDRESS"], plugins=[plugin])
    with process(stack, "worker --queue platform", WORKER_ADMIN_PORT=port):
        ready = await until_shown(http, port, "temporal_num_pollers")
        assert value(ready, "temporal_worker_task_slots_available", worker_type="ActivityWorker", task_queue="platform") == 100

        actor = Actor(tenant_id=TENANT, subject="s", client_id="c", scopes=(), jti="j")
        deletion = DocumentDeletion(document_id=DOCUMENT, actor=actor)
        run = await client.start_workflow(
            WorkflowName.DOCUMENT_DELETE.value, deletion, id=f"measured/{TENANT}", task_queue=Queue.PLATFORM.value
        )
        unknown = await client.start_workflow("nobody.knows", id=f"unknown/{TENANT}", task_queue=Queue.PLATFORM.value)
        with pytest.raises(Exception, match="Workflow execution failed"):
            await run.result()
        # Neither is counted before the server has answered: a client may know of the end first.
        samples = await until_shown(http, port, "temporal_workflow_task_execution_failed_total", "temporal_workflow_failed_total")
        await unknown.terminate()

    for latency in ("workflow_task_schedule_to_start", "activity_schedule_to_start", "workflow_task_execution"):
        name = f"temporal_{latency}_latency_seconds"
        count = value(samples, f"{name}_count")
        assert count > 0
        assert value(samples, f"{name}_bucket", le="+Inf") == count
        assert 0 < value(samples, f"{name}_sum") < 60 * count
    assert value(samples, "temporal_workflow_failed_total", workflow_type=WorkflowName.DOCUMENT_DELETE.value) == 1
    assert value(samples, "temporal_long_request_total", operation="PollWorkflowTaskQueue") > 0
    labels = {label for _, given in samples for label in given}
    assert {name for name, _ in labels} <= LABELS | {"le"}
    assert not [text for _, text in labels if TENANT in text or re.search("[0-9a-f]{8}", text)]


async def test_a_gateway_shows_its_calls(stack: EmbeddedStack, http: httpx2.AsyncClient) -> None:
    port, admin = map(str, free_ports(2))
    with process(stack, "gateway", GATEWAY_PORT=port, GATEWAY_ADMIN_PORT=admin):

        async def connected() -> bool:
            """Its client is lazy: `/readyz` makes it call."""
            try:
                dependencies = (await http.get(f"http://127.0.0.1:{port}/readyz")).json()["dependencies"]
            except httpx2.TransportError:
                return False
            return dependencies["temporal"]["status"] == "ok"

        await until(connected, 40)
        assert value(await scraped(http, admin), "temporal_request_total", operation="GetSystemInfo") == 1
