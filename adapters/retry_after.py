"""The header Retry-After (RFC 9110, 10.2.3): seconds, or a date."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

LONGEST_SECONDS: Final = 300.0
"""A server that asks for more is asked again after this long."""


def retry_after_seconds(header: str | None, now: datetime | None = None) -> float | None:
    """Seconds to wait, from 0 to 300; None where the header is absent or says nothing. `now` is this moment unless given."""
    if not header:
        return None
    text = header.strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            when = parsedate_to_datetime(text)
        except ValueError:
            return None
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        seconds = (when - (now or datetime.now(UTC))).total_seconds()
    return min(max(seconds, 0.0), LONGEST_SECONDS) if math.isfinite(seconds) else None
