"""Workflows on the real server, in the sandbox; each test runs with a worker cache and again without one.

Without a cache every workflow task replays the whole history, so what is not deterministic fails here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from fakes.openai_server import FakeOpenAI
from live import Caller, Live, live
from own_stack import own_stack

from workers.embedded.stack import EmbeddedStack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    """Not the shared one: these workers would take the tasks of other tests, and answer them with the fake model."""
    with own_stack(tmp_path_factory.mktemp("workflows")) as stack:
        yield stack


@pytest.fixture(scope="session")
async def model() -> AsyncIterator[FakeOpenAI]:
    """An OpenAI-compatible endpoint that tests hold, slow down and break."""
    async with FakeOpenAI() as fake:
        yield fake


@pytest.fixture(scope="session", params=[500, 0], ids=["cached", "uncached"])
async def product(request: pytest.FixtureRequest, stack: EmbeddedStack, model: FakeOpenAI) -> AsyncIterator[Live]:
    """Gateway and workers whose model is the fake endpoint."""
    async with live(stack, cached_workflows=request.param, model_base_url=model.url, model_name="fake-model") as running:
        yield running


@pytest.fixture
async def caller(product: Live) -> AsyncIterator[Caller]:
    """A client with every scope, in a tenant of its own."""
    async with product.caller() as caller:
        yield caller
