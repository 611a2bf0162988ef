"""Health of the one process in a container: 0 when it answers, 1 when it does not.

One image runs every command, so the port is chosen by the command line of process 1; an init may stand before `soma` there.
Standard library alone: it starts every ten seconds.
"""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# Command: the setting that holds its port, and that setting's default.
PORTS: Mapping[str, tuple[str, int]] = {
    "gateway": ("GATEWAY_PORT", 8080),
    "worker": ("WORKER_ADMIN_PORT", 8082),
    "relay": ("RELAY_ADMIN_PORT", 8083),
}


def health_port(command_line: Sequence[str], environment: Mapping[str, str]) -> int:
    """Port the command serves `/healthz` on. Raises LookupError for a command that serves none."""
    for word in command_line:
        if word in PORTS:
            name, default = PORTS[word]
            return int(environment.get(name) or default)
    raise LookupError(f"none of {', '.join(PORTS)} is running")


def is_healthy(port: int) -> bool:
    """Whether `/healthz` answers 200 within three seconds."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3.0)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def main() -> int:
    """Exit code for the container engine."""
    words = Path("/proc/1/cmdline").read_bytes().decode(errors="replace").split("\0")
    return 0 if is_healthy(health_port(words, os.environ)) else 1


if __name__ == "__main__":
    sys.exit(main())
