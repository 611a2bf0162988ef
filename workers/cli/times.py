"""Times that somebody typed."""

from __future__ import annotations

from datetime import UTC, datetime

from domain.errors import InvalidRequest


def as_instant(text: str | None) -> str | None:
    """A date or an ISO time as one with a zone, UTC where it names none. Raises InvalidRequest for anything else."""
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(f"{text} is no date or ISO time, such as 2026-01-31 or 2026-01-31T12:00:00Z.") from None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).isoformat()
