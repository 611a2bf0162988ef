"""`soma worker`: polls task queues."""

from __future__ import annotations

from typing import Annotated

import typer

from domain.names import Queue


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(worker)


def worker(
    queue: Annotated[
        list[Queue] | None, typer.Option("--queue", "-q", help="A task queue to poll; may be repeated. All of them without it.")
    ] = None,
) -> None:
    """Run a worker until SIGTERM or Ctrl-C; running activities get ten seconds to end.

    Example: soma worker --queue slm. Exit codes: 0 stopped in order, 2 a setting cannot be used, 3 a server it needs does
    not answer.
    """
    from runtime.settings import settings
    from workers.processes import run
    from workers.worker import run_worker

    run(run_worker(settings(), tuple(queue or Queue)))
