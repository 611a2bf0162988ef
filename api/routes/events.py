"""Events: a tenant's outbox as pages and as a stream, in commit order."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Header, Query, Request
from fastapi.responses import JSONResponse, Response

from api.auth import ServicesDependency, authority_of, longest_seconds, require
from api.event_streams import MEDIA_TYPE, EventStream, Selection, events_described, stream
from api.paging import Limit
from api.problems import problems
from api.routing import edge_router
from api.services import Services
from domain.actors import Actor
from domain.base import Contract
from domain.errors import InvalidRequest
from domain.events import CloudEvent, Position, cloud_event
from domain.names import Scope, Topic

router = edge_router("events")

LATEST: Final = "latest"

# What JSON carries without loss, with zeros before it as a `sequence` has. No log gets near the largest, which stands for the
# end of a transaction's rows.
_NUMBER: Final = "0{0,4}([0-8]?[0-9]{1,15}|9007199254740991)"
_POSITION: Final = f"{_NUMBER}-{_NUMBER}"

After = Annotated[
    str | None,
    Query(
        pattern=f"^(latest|{_POSITION})$",
        description="Only what comes after this position (`next`, an event's `sequence`, or the `id` of a stream), or `latest`.",
        examples=["1201-77"],
    ),
]
LastEventId = Annotated[
    str | None, Header(pattern=f"^{_POSITION}$", description="Resumes a stream; comes before `after`.", examples=["1201-77"])
]
Subject = Annotated[
    str | None, Query(pattern=r"^[A-Za-z0-9_./:-]{1,200}$", description="Only events on this session or document.")
]
TopicName = Annotated[Topic | None, Query(description="Only events of this topic.")]


class EventPage(Contract):
    """A page of events. The log has no end: ask again with `next` for what came since. Null only while nothing was ever read."""

    events: tuple[CloudEvent, ...]
    next: str | None


_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "A page, or with `Accept: text/event-stream` a stream that goes on as events are written",
        "content": events_described(
            "A CloudEvent, whose type is `event` and whose position is `id`",
            'id: 1201-77\nevent: somagent.turn.completed.v1\ndata: {"specversion":"1.0","id":"evt_0192…"}\n\n',
        ),
    }
}


@router.get(
    "/v1/events",
    summary="Read or follow events",
    response_model=EventPage,
    responses=_STREAM | problems(400, 401, 403, 429, 503),
)
async def read_events(
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.EVENT_READ)],
    topic: TopicName = None,
    subject: Subject = None,
    after: After = None,
    limit: Limit = 50,
    last_event_id: LastEventId = None,
) -> Response:
    """The tenant's events, oldest first. A stream ends with its token; come back with `Last-Event-ID` and a fresh one."""
    return await _answer(request, services, actor, Selection(actor.tenant_id, topic, subject), after, limit, last_event_id)


@router.get(
    "/v1/sessions/{session_id}/events",
    summary="Read or follow the events of a session",
    response_model=EventPage,
    responses=_STREAM | problems(400, 401, 403, 404, 429, 503),
)
async def read_session_events(
    session_id: str,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.EVENT_READ)],
    topic: TopicName = None,
    after: After = None,
    limit: Limit = 50,
    last_event_id: LastEventId = None,
) -> Response:
    """As `/v1/events`, for one session: its turns, decisions, flagged content and model calls."""
    await services.sessions.session(actor.tenant_id, session_id)
    return await _answer(request, services, actor, Selection(actor.tenant_id, topic, session_id), after, limit, last_event_id)


async def _answer(
    request: Request,
    services: Services,
    actor: Actor,
    selection: Selection,
    after: str | None,
    limit: int,
    last_event_id: str | None,
) -> Response:
    position = await _position(services, last_event_id or after)
    if not _wants_stream(request):
        return await _page(services, selection, position, limit)
    authority = authority_of(request, services, actor)
    content = stream(services.events, selection, position, authority, services.streams, services.settings.region)
    return EventStream(content, services.streams, actor, longest_seconds(services))


async def _page(services: Services, selection: Selection, after: Position | None, limit: int) -> JSONResponse:
    found = await services.events.page(
        selection.tenant_id, topic=selection.topic, subject=selection.subject, after=after, limit=limit
    )
    region = services.settings.region
    last = found[-1].position if found else after
    events = [cloud_event(event, region).model_dump(mode="json", exclude_none=True) for event in found]
    return JSONResponse({"events": events, "next": str(last) if last else None})


async def _position(services: Services, text: str | None) -> Position | None:
    if text is None:
        return None
    if text == LATEST:
        return await services.events.latest()
    position = Position.parse(text)
    if position is None:
        raise InvalidRequest("The position is no place in the log; use `next` or an event's `sequence`.")
    return position


def _wants_stream(request: Request) -> bool:
    """Whether an event stream is asked for by name; every other client gets pages."""
    ranges = (part.split(";")[0].strip().lower() for part in request.headers.get("accept", "").split(","))
    return MEDIA_TYPE in ranges
