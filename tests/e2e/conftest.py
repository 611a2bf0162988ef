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
