"""Times at the edge: text of RFC 3339 with an offset, never a number."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ConfigDict, TypeAdapter, ValidationError

from domain.base import Contract, UtcTime

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


class At(Contract):
    at: UtcTime


class StrictAt(At):
    model_config = ConfigDict(strict=True)


@pytest.mark.parametrize("text", ["2026-11-25T12:00:00Z", "2026-11-25T13:00:00+01:00", "2026-11-25 12:00:00.000Z"])
@pytest.mark.parametrize("model", [At, StrictAt])
def test_a_time_with_an_offset_becomes_utc(text: str, model: type[At]) -> None:
    assert model.model_validate_json(f'{{"at": "{text}"}}').at == NOON
    assert At.model_validate_json(At(at=NOON).model_dump_json()).at == NOON


@pytest.mark.parametrize(
    "value",
    [0, 0.5, 1_700_000_000, "0.5", "1700000000", True, None, "2026-11-25", "2026-11-25T12:00:00", "2026-13-01T00:00:00Z", ""],
)
def test_what_names_no_moment_is_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(UtcTime).validate_python(value)


def test_a_moment_outside_of_the_calendar_is_refused() -> None:
    with pytest.raises(ValidationError, match="1 and 9999"):
        TypeAdapter(UtcTime).validate_python("0001-01-01T00:00:00+01:00")
