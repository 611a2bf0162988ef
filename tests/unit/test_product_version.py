"""The version that the gateway tells is the distribution's."""

from __future__ import annotations

import tomllib
from pathlib import Path

from runtime.version import VERSION


def test_the_version_is_pyprojects() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION
