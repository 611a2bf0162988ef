"""Fixtures every test directory shares: real servers, one set for each pytest process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from own_stack import own_stack

from workers.embedded.stack import EmbeddedStack

# Whatever worker a test starts runs its workflows in the sandbox.
os.environ["WORKFLOW_SANDBOX"] = "true"
# A shell lets what it runs in the background ignore SIGINT, which the processes of tests would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    """Postgres (migrated), Valkey and Temporal (time skipping on) in a temporary home.

    `stack.environment` holds their addresses; `stack.part("postgres")` is one of them, to be killed and started again. Its
    methods block: call them through `asyncio.to_thread` in an async test. A test that kills a part starts it before it ends.
    """
    with own_stack(tmp_path_factory.mktemp("stack")) as stack:
        yield stack
