"""What `soma up` will run: every part the operator has not replaced by an address, its port and its environment.

Values that an earlier run of this very home exported into the shell are not taken for the operator's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from domain.errors import InvalidRequest
from workers.embedded.keys import Keys
from workers.embedded.ports import LOOPBACK, Ports
from workers.embedded.services import SERVICES, SETUP, Service
from workers.embedded.stack import SERVERS, EmbeddedStack
from workers.embedded.state import RunDirectory

_PREFERRED: Final[Mapping[str, int]] = {
    "gateway": 8080,
    "gateway-admin": 8081,
    "worker-admin": 8082,
    "relay-admin": 8083,
    "temporal": 7233,
    "temporal-ui": 8233,
    "temporal-http": 7243,
    "temporal-metrics": 7253,
    "postgres": 15432,
    "valkey": 16379,
}
_OWN_PORTS: Final[Mapping[str, str]] = {
    "gateway": "GATEWAY_PORT",
    "gateway-admin": "GATEWAY_ADMIN_PORT",
    "worker-admin": "WORKER_ADMIN_PORT",
    "relay-admin": "RELAY_ADMIN_PORT",
}
_DATABASE: Final = ("DATABASE_URL", "DATABASE_RELAY_URL", "DATABASE_TOKEN_URL")
_REPLACED_BY: Final[Mapping[str, tuple[str, ...]]] = {
    "postgres": (*_DATABASE, "DATABASE_MIGRATION_URL"),
    "valkey": ("REDIS_URL",),
    "temporal": ("TEMPORAL_ADDRESS", "TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE"),
}
_KEY_FILES: Final = (
    "SIGNING_KEY_FILE",
    "CODEC_KEY_FILE",
    "LOGIN_KEY_FILE",
    "CONSTITUTION_TRUSTED_KEYS_FILE",
    "STATEMENT_KEY_FILE",
    "STATEMENT_TRUSTED_KEYS_FILE",
)


@dataclass(frozen=True)
class Plan:
    """The servers, the environment of every process of ours, and what was replaced or moved."""

    home: Path
    stack: EmbeddedStack
    environment: dict[str, str]
    ports: dict[str, int]
    moved: dict[str, tuple[int, int]]
    replaced: list[str]
    setup: tuple[str, ...]
    services: tuple[Service, ...]


def make_plan(
    home: Path,
    given: Mapping[str, str] | None = None,
    *,
    services: Sequence[Service] = SERVICES,
    time_skipping: bool = False,
) -> Plan:
    """Plan the stack of `home` for the operator's environment `given` (this process's, when None); chooses and remembers ports.

    Raises InvalidRequest when an address is missing beside one that is given, DependencyUnavailable when Postgres cannot be run.
    """
    run = RunDirectory(home)
    theirs = operators_values(os.environ if given is None else given, home, run)
    replaced = [part for part, names in _REPLACED_BY.items() if any(name in theirs for name in names)]
    if "postgres" in replaced and (missing := [name for name in _DATABASE if name not in theirs]):
        raise InvalidRequest(f"Postgres is replaced by an address, but {' and '.join(missing)} is not set; set it too.")

    chooser = Ports(run.ports_file, _PREFERRED, wanted=_wanted_ports(theirs))
    own = chooser.choose(list(_OWN_PORTS))
    gateway = f"http://{LOOPBACK}:{own['gateway']}"
    stack = EmbeddedStack(
        home,
        parts=[part for part in SERVERS if part not in replaced],
        ports=chooser,
        time_skipping=time_skipping,
        codec_endpoint=f"{gateway}/v1/codec",
    )
    environment = {
        **stack.environment,
        **{variable: str(own[name]) for name, variable in _OWN_PORTS.items()},
        "PUBLIC_URL": gateway,
        **{name: value for name, value in theirs.items() if name not in _OWN_PORTS.values()},
    }
    migrates = "DATABASE_MIGRATION_URL" in environment
    return Plan(
        home=home,
        stack=stack,
        environment=environment,
        ports=chooser.chosen,
        moved=chooser.moved,
        replaced=replaced,
        setup=tuple(command for command in SETUP if migrates or command != "migrate") if services else _migration(migrates),
        services=tuple(services),
    )


def _migration(migrates: bool) -> tuple[str, ...]:
    """What is prepared when only the servers are wanted."""
    return ("migrate",) if migrates else ()


def addressed_parts(given: Mapping[str, str], home: Path) -> dict[str, str]:
    """The parts the operator replaced by an address, with it."""
    theirs = operators_values(given, home, RunDirectory(home))
    found = {"postgres": "DATABASE_URL", "valkey": "REDIS_URL", "temporal": "TEMPORAL_ADDRESS"}
    return {part: theirs[variable] for part, variable in found.items() if variable in theirs}


def preferred_ports(home: Path, given: Mapping[str, str]) -> dict[str, int]:
    """The ports `soma up` would try first, of the parts that are not replaced."""
    run = RunDirectory(home)
    theirs = operators_values(given, home, run)
    away = {part for part, names in _REPLACED_BY.items() if any(name in theirs for name in names)}
    tried = Ports(run.ports_file, _PREFERRED, wanted=_wanted_ports(theirs)).first_choice()
    return {name: port for name, port in tried.items() if name.partition("-")[0] not in away}


def _wanted_ports(theirs: Mapping[str, str]) -> dict[str, int]:
    wanted: dict[str, int] = {}
    for name, variable in _OWN_PORTS.items():
        if value := theirs.get(variable):
            if not value.isdecimal() or not 0 < int(value) < 65536:
                raise InvalidRequest(f"{variable} must be a port from 1 to 65535.")
            wanted[name] = int(value)
    return wanted


def operators_values(given: Mapping[str, str], home: Path, run: RunDirectory) -> dict[str, str]:
    """Those values of `given` that configure the stack and were set by the operator, not by an earlier run of this home."""
    names = (*(name for group in _REPLACED_BY.values() for name in group), *_KEY_FILES, *_OWN_PORTS.values())
    names += ("PUBLIC_URL", "TEMPORAL_NAMESPACE", "TEMPORAL_UI_URL")
    marks = _own_marks(home, run)
    return {name: given[name] for name in names if given.get(name) and not any(mark in given[name] for mark in marks)}


def _own_marks(home: Path, run: RunDirectory) -> list[str]:
    """Texts that only a value made by this home holds: its key directory, its passwords, its remembered loopback ports."""
    keys = Keys(home)
    marks = [f"{keys.directory}{os.sep}"]
    if keys.exist():
        marks += [secret.get_secret_value() for _, secret in keys.passwords()]
    try:
        remembered: dict[str, int] = json.loads(run.ports_file.read_bytes())
    except (OSError, ValueError):
        remembered = {}
    return [*marks, *(f"{LOOPBACK}:{port}" for port in remembered.values())]
