"""`soma relay`: carries events to Kafka."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(relay)


def relay() -> None:
    """Carry events from the outbox to Kafka until SIGTERM or Ctrl-C; of several relays one is active.

    Without KAFKA_BOOTSTRAP_SERVERS it idles. Exit codes: 0 stopped in order, 2 a setting cannot be used, 3 its port is taken.
    """
    from runtime.settings import settings
    from workers.processes import run
    from workers.relay import run_relay

    run(run_relay(settings()))
