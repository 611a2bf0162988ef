"""The model every contract derives from: frozen, closed to unknown fields, finite numbers only."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]")


class Contract(BaseModel):
    """A value on the wire or in a history. Later fields are added with defaults; none is renamed or reordered."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _written(value: object) -> object:
    """Numbers are no times: whether they count seconds or milliseconds would be guessed."""
    if isinstance(value, str) and _DATE.match(value):
        # Read here, since a strict model takes text for a time only from JSON itself.
        with suppress(ValueError):
            return datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return value
    raise ValueError("A time is written as 2026-11-25T08:00:00Z")


def _utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("A time in UTC lies between the years 1 and 9999") from None


UtcTime = Annotated[AwareDatetime, BeforeValidator(_written), AfterValidator(_utc)]
"""An aware time (RFC 3339), normalised to UTC."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""Lower-case hex of a SHA-256."""

Count = Annotated[int, Field(ge=0, le=2**53 - 1)]
"""A non-negative whole number that JSON carries without loss."""

TenantId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,47}$")]
"""A tenant's slug; at most 48 bytes, so that it is also a fairness key."""
