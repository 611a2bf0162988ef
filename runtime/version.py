"""The version of the product; a test keeps it equal to the one in pyproject.toml, which an uninstalled tree does not know."""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
