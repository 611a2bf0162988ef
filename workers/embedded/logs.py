"""Log files of the stack: bounded, read from their end, followed.

Children write to their file themselves, so it is rotated by copying it aside and cutting it to nothing; they append, so the
next line starts the file anew. A line written between the two steps is lost.
"""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

MAX_BYTES = 16 * 1024 * 1024
_BLOCK = 64 * 1024


def rotate(directory: Path, *, max_bytes: int = MAX_BYTES) -> list[str]:
    """Rotate every log above `max_bytes` to `<name>.log.1`, replacing the one before; returns the names of those rotated."""
    rotated: list[str] = []
    for log in sorted(directory.glob("*.log")):
        if log.stat().st_size > max_bytes:
            older = log.with_name(f"{log.name}.1")
            shutil.copyfile(log, older)
            older.chmod(0o600)
            os.truncate(log, 0)
            rotated.append(log.stem)
    return rotated


def tail(log: Path, lines: int) -> list[str]:
    """The last `lines` lines, fewer when there are no more, none when there is no such file."""
    try:
        with log.open("rb") as file:
            position = file.seek(0, os.SEEK_END)
            content = b""
            while position > 0 and content.count(b"\n") <= lines:
                step = min(_BLOCK, position)
                position = file.seek(position - step)
                content = file.read(step) + content
    except FileNotFoundError:
        return []
    found = content.decode("utf-8", "replace").splitlines()
    return found[-lines:] if lines > 0 else []


class Follower:
    """Reads the lines that are added to a log, over rotations; the file need not exist yet."""

    def __init__(self, log: Path) -> None:
        """Begins at the present end of the file."""
        self._log = log
        self._position = log.stat().st_size if log.exists() else 0
        self._rest = b""

    def read(self) -> list[str]:
        """The lines completed since the last call, possibly none."""
        size = self._log.stat().st_size if self._log.exists() else 0
        if size < self._position:
            self._position, self._rest = 0, b""
        if size == self._position:
            return []
        with self._log.open("rb") as file:
            file.seek(self._position)
            received = file.read()
        self._position += len(received)
        *complete, self._rest = (self._rest + received).split(b"\n")
        return [line.decode("utf-8", "replace") for line in complete]


class Journal:
    """The supervisor's own log: one JSON object a line in `logs/supervisor.log`."""

    def __init__(self, directory: Path) -> None:
        """The directory is made with the first line."""
        self._file = directory / "supervisor.log"

    def write(self, event: str, *, level: str = "info", **members: object) -> None:
        """Append one line. Raises OSError."""
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        line = json.dumps({"time": datetime.now(UTC).isoformat(), "level": level, "event": event, **members})
        fd = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "a", encoding="utf-8") as file:
            file.write(line + "\n")
