"""The product behind OpenAI's paths, with models of a fake vendor, and OpenAI's client as anybody makes it."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from fakes.openai_server import FakeOpenAI
from live import Caller, Live, live
from openai import AsyncOpenAI

from domain.names import Scope
from workers.embedded.stack import EmbeddedStack

CATALOGUE = """
[providers.acme]
kind = "openai"
base_url = "{url}"
timeout_seconds = 10

[[models]]
provider = "acme"
name = "large"
context_tokens = 20000
capabilities = ["stream", "tools", "json_object", "json_schema", "images"]
price = {{ input_micros = 1000000, output_micros = 2000000 }}

[providers.flaky]
kind = "openai"
base_url = "{url}"

[[models]]
provider = "flaky"
name = "large"

[[models]]
provider = "acme"
name = "plain"
capabilities = ["stream"]

[[models]]
provider = "acme"
name = "vectors"
capabilities = ["embeddings"]

[roles.dialogue_reasoning]
models = ["acme/large"]
max_output_tokens = 333

[roles.embeddings]
models = ["acme/vectors"]
"""
MODEL = "acme/large"
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
LOOK: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Looks something up.",
        "parameters": {"type": "object", "properties": {"question": {"type": "string"}}},
    },
}
SAY = [{"role": "user", "content": "What is tea?"}]


@asynccontextmanager
async def openai_product(stack: EmbeddedStack, vendor: FakeOpenAI, directory: Path) -> AsyncIterator[Live]:
    """Gateway and workers whose models are the vendor's."""
    file = directory / "models.toml"
    file.write_text(CATALOGUE.format(url=vendor.url))
    async with live(stack, models_file=file) as running:
        yield running


async def key_of(caller: Caller, *scopes: Scope) -> str:
    body = {"name": "test", "scopes": [scope.value for scope in scopes or (Scope.SLM_CALL,)]}
    return (await caller.post("/v1/api-keys", body)).json()["key"]


@asynccontextmanager
async def client_of(product: Live, key: str, **options: Any) -> AsyncIterator[AsyncOpenAI]:
    """OpenAI's client as anybody makes it; it does not try again by itself, so that every answer is seen."""
    async with AsyncOpenAI(base_url=f"{product.url}/v1", api_key=key, **({"max_retries": 0} | options)) as client:
        yield client


async def refusal(client: AsyncOpenAI, **sent: Any) -> openai.APIStatusError:
    """The error that a chat completion is refused with."""
    with pytest.raises(openai.APIStatusError) as caught:
        await client.chat.completions.create(**({"model": MODEL, "messages": SAY} | sent))
    error = caught.value
    assert set(error.response.json()) == {"error"}
    assert set(error.response.json()["error"]) == {"message", "type", "param", "code"}
    assert error.response.headers["Content-Type"] == "application/json"
    assert len(error.message.split()) > 3
    assert error.request_id
    return error
