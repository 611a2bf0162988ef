"""An answer as a stream on OpenAI's paths: pieces as they pass the gate, then what the recorded answer says beside them.

What was sent cannot be taken back here. When another attempt writes the answer anew, its text is held until the whole of it is
known; where that does not begin with what was sent, the stream ends with an error that says where the answer is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Final, Protocol
from uuid import UUID

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send
from temporalio.service import RPCError

from api.context import edge_context
from api.event_streams import MEDIA_TYPE, Authority, Watch
from api.idempotency import REPLAYED, body_digest
from api.openai_surface.answers import text_of, withheld
from api.openai_surface.calls import DEADLINE_SECONDS, Call, settled, started, stop
from api.problems import as_domain_error, internal_error
from api.slm_requests import admit
from api.token_streams import deltas
from domain.errors import DependencyUnavailable, DomainError, ModelStreamBroken, Unauthenticated
from domain.slm import FINAL_SLM_STATUSES, SlmStatus, SlmView
from domain.token_streams import StreamRestart, StreamText
from runtime.ids import new_uuid

FIRST_SECONDS: Final = 10.0
"""How long the head of an answer is held, so that a request that fails before a word gets the status it deserves."""
_FIRST_LOOK_SECONDS: Final = 0.25
_LOOK_SECONDS: Final = 1.0
_HEARTBEAT: Final = b": still here\n\n"
_REFUSED_AT_ONCE: Final = FINAL_SLM_STATUSES | {SlmStatus.AWAITING_APPROVAL}

Pieces = AsyncGenerator[StreamText | StreamRestart]


class Writer(Protocol):
    """Makes the bytes of one protocol's stream."""

    def begin(self) -> Iterator[bytes]:
        """The head."""
        ...

    def text(self, text: str) -> Iterator[bytes]:
        """More of the answer."""
        ...

    def end(self, view: SlmView, rest: str) -> Iterator[bytes]:
        """What was not sent of the text, and everything that ends a stream."""
        ...

    def fail(self, error: DomainError) -> Iterator[bytes]:
        """An end without an answer."""
        ...


async def streamed(call: Call, make: Callable[[SlmView], Writer]) -> StreamingResponse:
    """The answer as it is written. Raises what keeps it from being one, as long as no word of it is there."""
    await admit(call.request, call.services, call.actor, role=call.meant.role, model=call.meant.model)
    resource = await _claimed(call)
    try:
        view = await started(call, resource, stream=True, wait=0)
        if view.status in _REFUSED_AT_ONCE:
            settled(call, view)
        pieces = deltas(call.services, call.actor.tenant_id, view.request_id)
        answer = StreamedAnswer(call, resource, make(view), pieces)
        await answer.first_word()
    except BaseException:
        if call.key is not None:
            await call.services.claims.release(call.actor, _route(call), call.key)
        raise
    if call.key is not None:
        kept = {"body": {"request_id": view.request_id}, "headers": {}}
        await call.services.claims.answer(call.actor, _route(call), call.key, 200, kept)
    return _Sent(answer)


async def _claimed(call: Call) -> UUID:
    """The id of the request to stream: fixed by the key, where there is one. A replay streams the same answer again."""
    if call.key is None:
        return new_uuid()
    digest = body_digest(call.body, call.request.path_params)
    claim = await call.services.claims.claim(call.actor, _route(call), call.key, digest, new_uuid())
    if claim.status is not None:
        edge_context(call.request).headers[REPLAYED] = "true"
    return claim.resource


def _route(call: Call) -> str:
    return f"{call.request.method} {call.request.scope['route'].path}"


class StreamedAnswer:
    """One stream: what was given of the text, and what is yet to be."""

    def __init__(self, call: Call, resource: UUID, writer: Writer, pieces: Pieces) -> None:
        self._call, self._resource, self._writer, self._pieces = call, resource, writer, pieces
        self._next: asyncio.Future[StreamText | StreamRestart | None] | None = None
        self._sent = ""
        self._anew: str | None = None
        self._over = False

    async def first_word(self) -> None:
        """Returns when there is a word, after ten seconds, or when there is an answer without one; raises why there is none."""
        upcoming, clock = self._upcoming(), asyncio.get_running_loop().time
        deadline = clock() + FIRST_SECONDS
        try:
            while not upcoming.done() and clock() < deadline and not await self._call.request.is_disconnected():
                await asyncio.wait({upcoming}, timeout=_FIRST_LOOK_SECONDS)
            if upcoming.done() and upcoming.result() is None:
                await self._end()
        except BaseException:
            self._over = True
            await self.close()
            raise

    async def written(self) -> AsyncGenerator[bytes]:
        """The bytes."""
        try:
            for part in self._writer.begin():
                yield part
            async for part in self._texts():
                yield part
            view = await self._end()
            self._over = True
            for part in self._last(view):
                yield part
        except (DomainError, RPCError, TimeoutError) as error:
            # The head is sent, so the stream itself must tell.
            self._over = True
            for part in self._writer.fail(as_domain_error(error) or internal_error()):
                yield part

    async def close(self) -> None:
        """Reads no more. Where that was asked for, the request is cancelled when its reader went away before the end."""
        if self._next is not None:
            self._next.cancel()
            await asyncio.gather(self._next, return_exceptions=True)
        await self._pieces.aclose()
        if self._call.cancel_on_disconnect and not self._over:
            await stop(self._call, self._resource)

    async def _texts(self) -> AsyncGenerator[bytes]:
        services, clock = self._call.services, asyncio.get_running_loop().time
        # A token that expires meanwhile does not cut an answer short that cannot be resumed.
        watch, said = Watch(Authority(self._call.actor, lambda: None, services.standing), services.streams), clock()
        while await watch.goes_on():
            upcoming = self._upcoming()
            await asyncio.wait({upcoming}, timeout=_LOOK_SECONDS)
            if upcoming.done():
                self._next = None
                if (piece := upcoming.result()) is None:
                    return
                for part in self._given(piece):
                    said = clock()
                    yield part
            elif clock() - said >= services.streams.heartbeat_seconds:
                said = clock()
                yield _HEARTBEAT
        if services.streams.closed:
            raise DependencyUnavailable("The gateway stops; the answer will be at the request that Soma-Request-Id names.")
        raise Unauthenticated("The client was disabled or its key revoked while it was answered.")

    def _upcoming(self) -> asyncio.Future[StreamText | StreamRestart | None]:
        if self._next is None:
            self._next = asyncio.ensure_future(anext(self._pieces, None))
        return self._next

    def _given(self, piece: StreamText | StreamRestart) -> Iterator[bytes]:
        if isinstance(piece, StreamRestart):
            self._anew = ""
            return
        if self._anew is not None:
            self._anew += piece.text
            if len(self._anew) < len(self._sent) or not self._anew.startswith(self._sent):
                return
            text, self._anew = self._anew[len(self._sent) :], None
        else:
            text = piece.text
        if text:
            self._sent += text
            yield from self._writer.text(text)

    async def _end(self) -> SlmView:
        actor, names = self._call.actor, self._call.names(self._resource)
        view = await self._call.services.slm.wait(actor.tenant_id, names["Soma-Request-Id"], DEADLINE_SECONDS)
        # What was said stays said, so an answer that was cut off then ends as one that a filter ended.
        return view if self._sent and withheld(view) else settled(self._call, view)

    def _last(self, view: SlmView) -> Iterator[bytes]:
        text = text_of(view)
        if withheld(view):
            yield from self._writer.end(view, "")
        elif text.startswith(self._sent):
            yield from self._writer.end(view, text[len(self._sent) :])
        else:
            where = f"GET /v1/slm/requests/{view.request_id} has it"
            yield from self._writer.fail(ModelStreamBroken(f"The answer was written anew after a part of it was sent; {where}."))


class _Sent(StreamingResponse):
    """The stream as an answer; whatever ends it, what it reads from is closed."""

    def __init__(self, answer: StreamedAnswer) -> None:
        self._answer = answer
        super().__init__(answer.written(), media_type=MEDIA_TYPE, headers={"X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._answer.close()
