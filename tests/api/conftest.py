"""Fixtures of the gateway's tests: one gateway for most, and a way to start others."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
import structlog
from gateway_under_test import Gateway, StartGateway, composed_gateway, served_gateway
from live import Caller, Live, activate_constitution, live

from adapters.postgres.connection import Pool, create_pool
from runtime.logs import configure_logs
from workers.embedded.stack import EmbeddedStack


@pytest.fixture(scope="session", autouse=True)
def log_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The gateway's log, as a process writes it."""
    path = tmp_path_factory.mktemp("logs") / "gateway.log"
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with path.open("w", buffering=1) as stream:
        configure_logs("gateway", "INFO", stream)
        yield path
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(capture=False)
        structlog.reset_defaults()


@pytest.fixture(scope="session")
async def api_pool(stack: EmbeddedStack) -> AsyncIterator[Pool]:
    """Postgres as the application's role."""
    pool = await create_pool(stack.environment["DATABASE_URL"], 6, "api-tests")
    yield pool
    await pool.close()


@pytest.fixture(scope="session")
async def gateway(stack: EmbeddedStack, api_pool: Pool) -> AsyncIterator[Gateway]:
    """The gateway that tests share."""
    await activate_constitution(stack, api_pool)
    async with composed_gateway(stack, api_pool) as gateway:
        yield gateway


@pytest.fixture(scope="session")
async def http(gateway: Gateway) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of it."""
    async with gateway.http() as client:
        yield client


@pytest.fixture
async def start_gateway(gateway: Gateway) -> AsyncIterator[StartGateway]:
    """Starts a gateway that has these services and otherwise the shared one's; it ends with the test."""
    async with AsyncExitStack() as exits:

        async def start(**replaced: Any) -> Gateway:
            services = dataclasses.replace(gateway.services, **replaced)
            return await exits.enter_async_context(served_gateway(services, gateway.pool))

        yield start


@pytest.fixture
async def compose_gateway(stack: EmbeddedStack, api_pool: Pool) -> AsyncIterator[StartGateway]:
    """Composes a gateway from changed settings, which takes longer; it ends with the test."""
    async with AsyncExitStack() as exits:

        async def compose(**settings: Any) -> Gateway:
            return await exits.enter_async_context(composed_gateway(stack, api_pool, **settings))

        yield compose


@pytest.fixture(scope="module")
async def product(stack: EmbeddedStack) -> AsyncIterator[Live]:
    """Gateway and workers, for a module; one that needs other settings or servers has its own."""
    async with live(stack) as running:
        yield running


@pytest.fixture
async def caller(product: Live) -> AsyncIterator[Caller]:
    """A client with every scope, in a tenant of its own."""
    async with product.caller() as caller:
        yield caller
