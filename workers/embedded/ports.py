"""Loopback ports: the preferred one where it is free, else another; remembered, so that links stay valid over restarts."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from workers.embedded.files import write_atomically

LOOPBACK = "127.0.0.1"
_PORTS = TypeAdapter(dict[str, int])


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen on `port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def reachable(host: str, port: int, seconds: float = 2.0) -> bool:
    """Whether something takes TCP connections there."""
    try:
        socket.create_connection((host, port), timeout=seconds).close()
    except OSError:
        return False
    return True


def free_ports(count: int) -> list[int]:
    """`count` different ports that are free now. They are held together while chosen, so that none comes twice."""
    probes = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((LOOPBACK, 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


class Ports:
    """The stack's ports by name, kept in a file."""

    def __init__(self, file: Path | None, preferred: Mapping[str, int], *, wanted: Mapping[str, int] | None = None) -> None:
        """`wanted` ports come first, then the remembered ones, then `preferred`. Without a `file` nothing is remembered."""
        self._file = file
        self._preferred = dict(preferred)
        self._wanted = dict(wanted or {})
        self.moved: dict[str, tuple[int, int]] = {}
        """Names whose port was taken: from, to."""
        self.chosen: dict[str, int] = {}
        """Every port chosen so far."""

    def choose(self, names: list[str]) -> dict[str, int]:
        """A free port for each name; taken ones are replaced and recorded in `moved`."""
        remembered, first = self._read(), self.first_choice()
        spare = iter(free_ports(len(names)))
        for name in names:
            wanted = first.get(name, 0)
            if wanted and wanted not in self.chosen.values() and is_free(wanted):
                self.chosen[name] = wanted
                continue
            self.chosen[name] = next(spare)
            if wanted:
                self.moved[name] = (wanted, self.chosen[name])
        if self._file is not None:
            write_atomically(self._file, json.dumps({**remembered, **self.chosen}, indent=1))
        return {name: self.chosen[name] for name in names}

    def first_choice(self) -> dict[str, int]:
        """The port that is tried first for each name."""
        return {**self._preferred, **self._read(), **self._wanted}

    def _read(self) -> dict[str, int]:
        if self._file is None:
            return {}
        try:
            return _PORTS.validate_json(self._file.read_bytes())
        except (FileNotFoundError, ValidationError):
            return {}
