"""Event streams (WHATWG server-sent events): who may hold one open, and what is written to it.

A stream holds no database connection while it waits or while its reader is slow. It ends with its token, with its client's
authority and with the gateway; a reader that comes back with `Last-Event-ID` misses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from dataclasses import dataclass
from typing import Any, Final

from fastapi.sse import format_sse_event
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from domain.actors import Actor
from domain.errors import DependencyUnavailable, TooManyRequests, Unauthenticated
from domain.events import Position, StoredEvent, cloud_event
from domain.names import Topic
from domain.ports.events import EventReads
from domain.ports.identity import Standing

MEDIA_TYPE: Final = "text/event-stream"
RETRY_MILLISECONDS: Final = 2000
_PAGE: Final = 100
_LOOK_AGAIN_SECONDS: Final = 1.0
_ASK_SECONDS: Final = 1.0
"""Between two questions whether the client still stands: a revoked key ends its streams too."""
_LEAST_SECONDS: Final = 0.1
"""Between two looks that found little: many streams woken by each of many notices must not become a storm of queries."""


def events_described(data: str, example: str) -> dict[str, Any]:
    """The content of a response that is a stream, as OpenAPI 3.1 describes it: `schema` is that of each event."""
    text: dict[str, Any] = {"type": "string"}
    names = {"id": text, "event": text, "data": text | {"description": data}, "retry": {"type": "integer"}}
    return {MEDIA_TYPE: {"schema": {"type": "object", "required": ["data"], "properties": names}, "example": example}}


class StreamPlaces:
    """The open streams of this process; a client may hold so many at once."""

    def __init__(self, per_client: int = 20, heartbeat_seconds: float = 10.0) -> None:
        """`heartbeat_seconds` is how long a stream stays silent at most."""
        self.heartbeat_seconds: Final = heartbeat_seconds
        self._per_client: Final = per_client
        self._open: Counter[tuple[str, str]] = Counter()
        self._closed = False

    @property
    def closed(self) -> bool:
        """True once the gateway stops."""
        return self._closed

    def close(self) -> None:
        """Ends every stream within a second, so that a gateway that stops need not wait for them."""
        self._closed = True

    @contextlib.contextmanager
    def take(self, actor: Actor) -> Generator[None]:
        """A place for as long as the block runs. Raises TooManyRequests when this client holds all its places."""
        key = (actor.tenant_id, actor.client_id)
        if self._open[key] >= self._per_client:
            raise TooManyRequests(f"This client holds {self._per_client} event streams open; close one first.", retry_after=5)
        self._open[key] += 1
        try:
            yield
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]


@dataclass(frozen=True)
class Selection:
    """Which of a tenant's events are asked for."""

    tenant_id: str
    topic: Topic | None = None
    subject: str | None = None


@dataclass(frozen=True)
class Authority:
    """Why a stream may go on: `verify` raises Unauthenticated once the token has expired."""

    actor: Actor
    verify: Callable[[], object]
    standing: Standing

    def token_holds(self) -> bool:
        """Whether the token is still valid."""
        try:
            self.verify()
        except Unauthenticated:
            return False
        return True

    async def stands(self) -> bool | None:
        """Whether the client still stands; None when that cannot be asked just now."""
        try:
            return await self.standing.stands(self.actor)
        except DependencyUnavailable:
            return None


class EventStream(StreamingResponse):
    """A stream that ends after `longest_seconds` even when its reader takes nothing any more."""

    media_type = MEDIA_TYPE

    def __init__(self, content: AsyncIterator[bytes], places: StreamPlaces, actor: Actor, longest_seconds: float) -> None:
        """Nothing is taken yet."""
        super().__init__(content, headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"})
        self._places = places
        self._actor = actor
        self._longest = longest_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it, on a place of the actor's client. Raises TooManyRequests."""
        with self._places.take(self._actor), contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._longest):
                await super().__call__(scope, receive, send)


def written(event: StoredEvent, region: str) -> bytes:
    """One event: its position as `id`, its type as `event`, its CloudEvent in JSON as `data`."""
    data = cloud_event(event, region).model_dump_json(exclude_none=True)
    return format_sse_event(data_str=data, event=event.type.value, id=str(event.position))


class Watch:
    """Asks now and then whether a stream may go on."""

    def __init__(self, authority: Authority, places: StreamPlaces) -> None:
        """It may now: the route has just asked."""
        self._authority, self._places = authority, places
        self._clock: Final = asyncio.get_running_loop().time
        self._asked = self._clock()

    async def goes_on(self) -> bool:
        """False once the gateway stops, the token has expired or the client no longer stands."""
        if self._places.closed or not self._authority.token_holds():
            return False
        heartbeat, looked = self._places.heartbeat_seconds, self._clock()
        if looked - self._asked < min(_ASK_SECONDS, heartbeat):
            return True
        stands = await self._authority.stands()
        # What cannot be asked for longer than a restart takes counts as no.
        if stands is None:
            return looked - self._asked < heartbeat
        self._asked = looked
        return stands


async def stream(
    events: EventReads, selection: Selection, after: Position | None, authority: Authority, places: StreamPlaces, region: str
) -> AsyncGenerator[bytes]:
    """The stream's bytes: a retry hint, then each event, and a comment whenever it was silent for the heartbeat's time."""
    clock = asyncio.get_running_loop().time
    yield format_sse_event(retry=RETRY_MILLISECONDS, comment="stream of events")
    watch, said = Watch(authority, places), clock()
    while await watch.goes_on():
        seen, looked = events.notices(), clock()
        page = await _page(events, selection, after)
        for event in page:
            yield written(event, region)
        if page:
            after, said = page[-1].position, clock()
        elif clock() - said >= places.heartbeat_seconds:
            yield format_sse_event(comment="")
            said = clock()
        if len(page) < _PAGE:
            await asyncio.sleep(max(0.0, looked + _LEAST_SECONDS - clock()))
            await events.wait(min(_LOOK_AGAIN_SECONDS, places.heartbeat_seconds), seen)


async def _page(events: EventReads, selection: Selection, after: Position | None) -> tuple[StoredEvent, ...]:
    """The next events; none while Postgres is away, which only delays an open stream."""
    try:
        return await events.page(selection.tenant_id, topic=selection.topic, subject=selection.subject, after=after, limit=_PAGE)
    except DependencyUnavailable:
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        return ()
