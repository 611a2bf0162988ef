"""Patch ids (`workflow.patched`), newest last. None is ever reused or renamed."""

from __future__ import annotations
