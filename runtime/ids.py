"""Makes ids (UUIDv7, so they sort by time). Workflows use `workflow.uuid7()` instead."""

from __future__ import annotations

from uuid import UUID

from uuid_utils.compat import uuid7

from domain.ids import Prefix, format_id


def new_uuid() -> UUID:
    """A fresh UUIDv7."""
    return uuid7()


def new_id(prefix: Prefix) -> str:
    """A fresh id of this kind."""
    return format_id(prefix, uuid7())
