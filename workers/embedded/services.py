"""Our own processes: what prepares the database first, then gateway, worker and relay.

Each is the `soma` command line itself with the stack's environment; each says over HTTP whether it serves.
"""

from __future__ import annotations

import http.client
import os
import site
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from workers.embedded.part import Part
from workers.embedded.ports import LOOPBACK


@dataclass(frozen=True)
class Service:
    """`soma <command>`, supervised; it serves when `GET /healthz` on the port named by `port_variable` is 200."""

    command: str
    port_variable: str
    public: bool = False
    """Whether clients use this port."""


SETUP: Final = ("migrate", "bootstrap")
"""Commands run to their end, in this order, before the services start."""

SERVICES: Final = (
    Service("worker", "WORKER_ADMIN_PORT"),
    Service("relay", "RELAY_ADMIN_PORT"),
    Service("gateway", "GATEWAY_PORT", public=True),
)


def service_part(service: Service, environment: Mapping[str, str]) -> Part:
    """The process of a service in the stack of `environment`."""
    port = int(environment[service.port_variable])
    return Part(
        name=service.command,
        argv=soma_command(service.command),
        env=process_environment(environment),
        cwd=Path(environment["SOMA_HOME"]),
        ready=healthz(port),
        addresses={service.command: f"http://{LOOPBACK}:{port}"},
        # A machine with two busy cores takes a minute to load a worker; slow is not broken.
        start_seconds=180.0,
        # A worker first lets its running activities end.
        stop_seconds=25.0,
    )


def setup_part(command: str, environment: Mapping[str, str]) -> Part:
    """The process of a command that ends by itself; it is never `ready`."""
    return Part(
        name=command,
        argv=soma_command(command),
        env=process_environment(environment),
        cwd=Path(environment["SOMA_HOME"]),
        ready=_never,
        start_seconds=180.0,
    )


def soma_command(*arguments: str) -> tuple[str, ...]:
    """The command line of `soma …` for a child process: the same interpreter and tree as ours, whatever PATH holds."""
    return (sys.executable, "-m", "workers.cli.main", *arguments)


def process_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Our own environment, overlaid with the stack's, in which this tree's packages are found."""
    root = str(Path(__file__).resolve().parents[2])
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if root not in paths and root not in site.getsitepackages():
        paths.insert(0, root)
    found = {**os.environ, **environment}
    if paths:
        found["PYTHONPATH"] = os.pathsep.join(paths)
    return found


def healthz(port: int) -> Callable[[], bool]:
    """A check that `GET /healthz` on a loopback port is 200; waits at most a second."""

    def healthy() -> bool:
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=1.0)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return healthy


def _never() -> bool:
    return False
