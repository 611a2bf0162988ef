"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from soma_command import Soma


@pytest.fixture
def soma(tmp_path: Path) -> Iterator[Soma]:
    """The command line with a home of its own; whatever it started is ended."""
    soma = Soma(tmp_path)
    yield soma
    soma.clean()


@pytest.fixture(scope="session")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Soma]:
    """The whole stack, started by `soma up --detach` once for every test that only asks it things."""
    soma = Soma(tmp_path_factory.mktemp("serving"))
    soma.ok("up", "--detach", timeout=240)
    yield soma
    soma.clean()
