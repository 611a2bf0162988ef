"""Wire names are API: once they stand in the baseline none is removed, renamed or moved to another value.

A new name is added to `baselines/wire_names.json` with the change that introduces it.
"""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path

from domain import names
from domain.errors import ERRORS
from domain.ids import Prefix

BASELINE = Path(__file__).parent / "baselines" / "wire_names.json"
ENUMS: tuple[type[Enum], ...] = (
    names.Queue,
    names.Lane,
    names.SearchAttribute,
    names.Topic,
    names.EventType,
    names.Feature,
    names.WorkflowName,
    names.UpdateName,
    names.ActivityName,
    names.Scope,
    names.Effect,
    Prefix,
)


def current() -> dict[str, dict[str, object]]:
    """Every wire name as it stands."""
    found: dict[str, dict[str, object]] = {enum.__name__: {member.name: member.value for member in enum} for enum in ENUMS}
    found["errors"] = {kind: error.status for kind, error in sorted(ERRORS.items())}
    return found


def test_no_wire_name_was_changed() -> None:
    assert current() == json.loads(BASELINE.read_text()), (
        "A wire name differs from tests/invariants/baselines/wire_names.json. Adding one: add it there. Renaming or removing "
        "one is a migration of every history, token and consumer that holds it."
    )


def test_wire_values_are_unique() -> None:
    for enum in ENUMS:
        values = [member.value for member in enum.__members__.values()]
        assert len(values) == len(set(values)), enum.__name__
