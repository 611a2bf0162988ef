"""Edits of a row that others may edit, too: made once, and of the version that was expected alone."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from adapters.postgres.connection import Connection
from adapters.postgres.outbox import insert_events, traceparent
from domain.errors import PreconditionFailed
from domain.event_data.base import EventData, new_event
from domain.ids import Prefix, format_id

_MADE: Final = "SELECT true FROM outbox WHERE tenant_id = $1 AND event_id = $2"


async def was_made(connection: Connection, tenant_id: str, change_id: UUID) -> bool:
    """Whether the change was made by an earlier attempt: its event has its id."""
    return bool(await connection.fetchval(_MADE, tenant_id, format_id(Prefix.EVENT, change_id)))


async def tell_change(connection: Connection, tenant_id: str, change_id: UUID, told: EventData) -> None:
    """Adds the event of the change, by which `was_made` knows it."""
    await insert_events(connection, tenant_id, [new_event(format_id(Prefix.EVENT, change_id), told, traceparent())])


def check_version(version: int, expected: tuple[int, ...] | None) -> None:
    """Raises PreconditionFailed unless the version is one of those expected; None expects any."""
    if expected is not None and version not in expected:
        raise PreconditionFailed("Somebody changed it meanwhile, or it never had that ETag; read it again and repeat the change.")
