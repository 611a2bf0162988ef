"""An answer as it is written: pieces from Redis while there are some, and from the recorded answer whatever is missing.

What surprises: the row decides, never Redis. A stream is at its end when the request is; and the text its reader is given is in
the end the recorded one, begun anew where what was given before is not how that begins.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from typing import Final

import structlog
from fastapi.sse import format_sse_event
from starlette.types import Receive, Scope, Send
from temporalio.service import RPCError

from api.event_streams import RETRY_MILLISECONDS, Authority, EventStream, Watch
from api.services import Services
from api.workflow_calls import cancel_run
from domain.errors import DependencyUnavailable, DomainError
from domain.ports.slm import SlmReads
from domain.slm import FINAL_SLM_STATUSES, SlmStatus, SlmView
from domain.token_streams import Mark, Reading, StreamRestart, StreamText

_LOOK_SECONDS: Final = 1.0
_ROW_SECONDS: Final = 10.0
_UNDER_WAY: Final = frozenset({SlmStatus.PENDING, SlmStatus.RUNNING})
_log = structlog.get_logger("api.token_streams")


async def deltas(
    services: Services, tenant_id: str, request_id: str, mark: Mark | None = None
) -> AsyncGenerator[StreamText | StreamRestart]:
    """What comes after `mark`; ends when the request has ended and all of its answer was given. Raises NotFound.

    It takes nothing from Redis before its reader has taken what was there before, and waits for as long as the request takes.
    """
    reading = Reading(mark)
    place, carried = reading.mark.place, services.token_reads
    row = asyncio.create_task(_ended(services.slm, tenant_id, request_id))
    try:
        while carried is not None and not row.done():
            more = asyncio.create_task(carried.read(tenant_id, request_id, place, _LOOK_SECONDS))
            try:
                await asyncio.wait({row, more}, return_when=asyncio.FIRST_COMPLETED)
                pieces = more.result() if more.done() else ()
            finally:
                more.cancel()
            for piece in pieces:
                place = max(place, piece.end)
                for item in reading.piece(piece):
                    yield item
        view = await row
    finally:
        row.cancel()
    if view.status is SlmStatus.COMPLETED and view.text is not None:
        for item in reading.rest(view.text):
            yield item


async def _ended(slm: SlmReads, tenant_id: str, request_id: str) -> SlmView:
    """The request once it has ended; while Postgres is away nobody knows, so it is asked again."""
    while True:
        status: SlmStatus | None = None
        with contextlib.suppress(DependencyUnavailable):
            view = await slm.wait(tenant_id, request_id, _ROW_SECONDS)
            if view.status in FINAL_SLM_STATUSES:
                return view
            status = view.status
        if status not in _UNDER_WAY:
            # A request that waits for somebody is given at once.
            await asyncio.sleep(_LOOK_SECONDS)


def written(item: StreamText | StreamRestart) -> bytes:
    """One event: the mark as `id`."""
    mark = str(item.mark)
    if isinstance(item, StreamText):
        return format_sse_event(data_str=json.dumps({"text": item.text}, ensure_ascii=False), event="delta", id=mark)
    return format_sse_event(data_str=json.dumps({"attempt": item.mark.attempt}), event="restart", id=mark)


class AnswerEvents:
    """The events of one stream, and whether its reader stayed to the end."""

    def __init__(self, services: Services, request_id: str, mark: Mark | None, authority: Authority) -> None:
        """For the actor of `authority`, who holds what `mark` says."""
        self._services, self._request_id = services, request_id
        self._authority, self._places = authority, services.streams
        self.actor, self._tenant_id = authority.actor, authority.actor.tenant_id
        self._items = deltas(services, self._tenant_id, request_id, mark)
        self.begun = self.over = False

    async def written(self) -> AsyncGenerator[bytes]:
        """A retry hint, each piece, a comment whenever it was silent for the heartbeat's time, and the request as it ended."""
        self.begun = True
        yield format_sse_event(retry=RETRY_MILLISECONDS, comment="stream of an answer")
        watch, clock = Watch(self._authority, self._places), asyncio.get_running_loop().time
        upcoming: asyncio.Future[StreamText | StreamRestart | None] | None = None
        said = clock()
        try:
            while await watch.goes_on():
                upcoming = upcoming or asyncio.ensure_future(anext(self._items, None))
                await asyncio.wait({upcoming}, timeout=min(_LOOK_SECONDS, self._places.heartbeat_seconds))
                if upcoming.done():
                    item, upcoming = upcoming.result(), None
                    yield await self._end() if item is None else written(item)
                    if item is None:
                        break
                    said = clock()
                elif clock() - said >= self._places.heartbeat_seconds:
                    yield format_sse_event(comment="")
                    said = clock()
            self.over = True
        except DomainError as error:
            # The head is sent, so that it ends is all that can be told: who comes back is answered properly.
            _log.warning("token_streams.broken_off", reason=error.type)
            self.over = True
        finally:
            if upcoming is not None:
                upcoming.cancel()
                await asyncio.gather(upcoming, return_exceptions=True)
            await self._items.aclose()

    async def _end(self) -> bytes:
        view = await self._services.slm.request(self._tenant_id, self._request_id)
        return format_sse_event(data_str=view.model_dump_json(exclude_none=True), event="end")


class AnswerStream(EventStream):
    """A stream of an answer. Where that was asked for, the request is cancelled when its reader goes away before the end."""

    def __init__(self, services: Services, events: AnswerEvents, longest_seconds: float, cancels: str | None) -> None:
        """`cancels` is the id of the workflow that a reader's going away cancels."""
        self._content: AsyncGenerator[bytes] = events.written()
        super().__init__(self._content, services.streams, events.actor, longest_seconds)
        self._services, self._events, self._cancels = services, events, cancels

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it. Raises TooManyRequests."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._content.aclose()
            if self._cancels is not None and self._events.begun and not self._events.over:
                # Where Temporal is away too, the run's deadline ends it.
                with contextlib.suppress(RPCError, DependencyUnavailable):
                    await cancel_run(self._services.temporal, self._cancels)
