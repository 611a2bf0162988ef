"""Whether this Python is new enough. It must itself run on the old ones it turns away, so it uses nothing of today's language."""

from __future__ import annotations

OLDEST = (3, 11)
NEWEST = (3, 13)


def trouble(version: tuple[int, ...]) -> str | None:
    """What is wrong with a Python of this version, in a sentence; None when nothing is."""
    if OLDEST <= tuple(version[:2]) <= NEWEST:
        return None
    found, oldest, newest = (".".join(map(str, part[:2])) for part in (version, OLDEST, NEWEST))
    return f"Python {found} cannot run SomaGent; make the environment anew with Python {oldest} to {newest}."
