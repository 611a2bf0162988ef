"""The real servers that tests run on, in a temporary home; about a second and a half to start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workers.embedded.stack import EmbeddedStack


@contextmanager
def own_stack(directory: Path) -> Iterator[EmbeddedStack]:
    """Postgres (migrated), Valkey and Temporal (time skipping on), stopped at the end.

    Who runs workers on a stack for longer than a module has one of its own: other workers would take their tasks.
    """
    # Runs continue as new after a few turns, so that every test of a session may meet it.
    config = {"limit.historyCount.suggestContinueAsNew": "150"}
    stack = EmbeddedStack(directory / "home", time_skipping=True, durable=False, tied=True, dynamic_config=config)
    with stack:
        yield stack
