"""The route class of every route: it authorises before it reads, and reads no more than the route allows.

FastAPI would read and parse the body first and ask for the token afterwards, and it turns every error of a body's
reader into the same 400.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, params
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from api.auth import Require
from api.strict_json import parse_json
from domain.errors import NotFound, TooLarge, UnsupportedMediaType

MIB: Final = 1024 * 1024
DEFAULT_BODY_LIMIT: Final = MIB
_JSON: Final = "application/json"
_FORM: Final = "application/x-www-form-urlencoded"

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass(frozen=True, slots=True)
class BodyLimit:
    """In a route's `dependencies`: bodies of up to this many bytes, instead of one MiB."""

    size: int

    async def __call__(self) -> None:
        """Nothing to do: the route reads the mark."""


def body_limit(size: int) -> params.Depends:
    """`dependencies=[body_limit(6 * MIB)]` on a route."""
    return params.Depends(BodyLimit(size))


@dataclass(frozen=True, slots=True)
class BeforeAuthorising:
    """In a route's `dependencies`: sees the request before its token is looked at."""

    look: Callable[[Request], None]

    async def __call__(self) -> None:
        """Nothing to do: the route reads the mark."""


def before_authorising(look: Callable[[Request], None]) -> params.Depends:
    """`dependencies=[before_authorising(look)]`: what `look` adds to the edge's headers is on refusals too."""
    return params.Depends(BeforeAuthorising(look))


class EdgeRequest(Request):
    """A request whose body is bounded and whose JSON is strict."""

    def __init__(self, request: Request, limit: int) -> None:
        """`limit` is in bytes."""
        super().__init__(request.scope, request.receive)
        self._limit = limit
        self._parsed: list[Any] = []

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The body in pieces. Raises TooLarge, by the declared length before reading and by what comes otherwise."""
        declared = self.headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > self._limit:
            raise self._too_large()
        size = 0
        async for chunk in super().stream():
            size += len(chunk)
            if size > self._limit:
                raise self._too_large()
            yield chunk

    async def json(self) -> Any:
        """The body, parsed once. Raises InvalidRequest."""
        if not self._parsed:
            self._parsed.append(parse_json(await self.body()))
        return self._parsed[0]

    def _too_large(self) -> TooLarge:
        return TooLarge(f"The body is larger than the {self._limit} bytes this route takes.", limit_bytes=self._limit)


class EdgeRoute(APIRoute):
    """Authorises, then reads and checks the body, then lets FastAPI do the rest."""

    def get_route_handler(self) -> Handler:
        """The handler FastAPI calls for a request."""
        handle: Handler = super().get_route_handler()
        marks: list[object] = [dependency.call for dependency in self.dependant.dependencies]
        guard = next((mark for mark in marks if isinstance(mark, Require)), None)
        limit = next((mark.size for mark in marks if isinstance(mark, BodyLimit)), DEFAULT_BODY_LIMIT)
        looks = [mark.look for mark in marks if isinstance(mark, BeforeAuthorising)]
        form = self.body_field is not None and isinstance(self.body_field.field_info, params.Form)
        reads = self.body_field is not None

        async def guarded(request: Request) -> Response:
            for look in looks:
                look(request)
            if any("\0" in str(value) for value in request.path_params.values()):
                # Postgres takes no NUL in a text, and no id holds one.
                raise NotFound("There is nothing of that name.")
            if guard is not None:
                await guard.authorise(request)
            edge = EdgeRequest(request, limit)
            if reads:
                await _read(edge, _FORM if form else _JSON)
            return await handle(edge)

        return guarded


async def _read(request: EdgeRequest, expected: str) -> None:
    """Reads the body now, so that what is wrong with it is told as such."""
    if not await request.body():
        return
    _check_media_type(request.headers.get("content-type", ""), expected)
    if expected == _JSON:
        await request.json()


def _check_media_type(value: str, expected: str) -> None:
    media_type, *parameters = (part.strip().lower() for part in value.split(";"))
    if media_type != expected:
        raise UnsupportedMediaType(f"This route reads {expected}; set the Content-Type header to it.")
    if any(part.startswith("charset=") and part.removeprefix("charset=").strip('"') != "utf-8" for part in parameters):
        raise UnsupportedMediaType("This route reads UTF-8 only.")


def edge_router(*tags: str) -> APIRouter:
    """A router whose routes are EdgeRoutes; every feature makes its own with this."""
    return APIRouter(route_class=EdgeRoute, tags=list(tags))
