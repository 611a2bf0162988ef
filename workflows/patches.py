"""Patch ids (`workflow.patched`), newest last. None is ever reused or renamed."""

from __future__ import annotations

from typing import Final

MODEL_ROUTING: Final = "model-routing"
"""A turn's model is chosen by a recorded plan, and another is asked where it fails."""
