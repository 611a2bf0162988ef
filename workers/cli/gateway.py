"""`soma gateway`: the HTTP server."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(gateway)


def gateway() -> None:
    """Run the gateway until SIGTERM or Ctrl-C.

    Everything comes from settings (docs/configuration.md). Exit codes: 0 stopped in order, 2 a setting cannot be used, 3 a
    server it needs does not answer.
    """
    from runtime.settings import settings
    from workers.gateway import run_gateway
    from workers.processes import run

    run(run_gateway(settings()))
