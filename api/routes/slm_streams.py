"""Answers of model requests as they are written, for readers that may come and go."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Header, Query, Request
from fastapi.responses import Response

from api.auth import ServicesDependency, authority_of, longest_seconds, require
from api.event_streams import events_described
from api.problems import problems
from api.routing import edge_router
from api.token_streams import AnswerEvents, AnswerStream
from domain.actors import Actor
from domain.capabilities import covers
from domain.errors import InsufficientScope
from domain.names import Scope
from domain.token_streams import Mark

router = edge_router("models")

LastEventId = Annotated[
    str | None,
    Header(
        pattern=r"^[0-9]{1,9}-[0-9]{1,15}-[0-9a-f]{8}$",
        description="The `id` of the last event that was read: attempt, characters and their checksum. The stream goes on there.",
        examples=["1-57-8d4f1a02"],
    ),
]
CancelOnDisconnect = Annotated[
    bool, Query(description="Cancels the request when the reader goes away before the end; needs the scope `slm:call`.")
]
_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Server-sent events until the request has ended. `delta` has the next characters as `text`; `restart` "
        "voids everything before it, since the answer is written anew; `end` has the request as it then reads.",
        "content": events_described("JSON", 'id: 1-13-2b8c7a10\nevent: delta\ndata: {"text": "Good morning."}\n\n'),
    }
}


@router.get(
    "/v1/slm/requests/{request_id}/stream",
    summary="Follow an answer as it is written",
    response_class=Response,
    responses=_STREAM | problems(400, 401, 403, 404, 429, 503),
)
async def stream_answer(
    request_id: str,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.SLM_READ)],
    last_event_id: LastEventId = None,
    cancel_on_disconnect: CancelOnDisconnect = False,
) -> Response:
    """The answer of a request that was queued with `stream`, moderated sentence by sentence; of any other once it is whole.

    A reader that goes away stops nothing. One that comes back with `Last-Event-ID` gets every character once.
    """
    view = await services.slm.request(actor.tenant_id, request_id)
    if cancel_on_disconnect and not covers(actor.scopes, Scope.SLM_CALL, view.role):
        raise InsufficientScope("Cancelling needs the scope slm:call; ask for it, or leave cancel_on_disconnect out.")
    mark = Mark.parse(last_event_id) if last_event_id else None
    events = AnswerEvents(services, request_id, mark, authority_of(request, services, actor))
    return AnswerStream(services, events, longest_seconds(services), view.workflow_id if cancel_on_disconnect else None)
